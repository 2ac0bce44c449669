fn main() -> std::process::ExitCode {
    millrace_limits::load::main()
}
