fn main() -> std::process::ExitCode {
    millrace_limits::server::main()
}
