fn main() -> std::process::ExitCode {
    millrace_limits::fetch::main()
}
