fn main() -> std::process::ExitCode {
    millrace_limits::sequential::main()
}
