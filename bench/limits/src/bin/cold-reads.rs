fn main() -> std::process::ExitCode {
    millrace_limits::cold::main()
}
