fn main() -> std::process::ExitCode {
    millrace_limits::engines::main()
}
