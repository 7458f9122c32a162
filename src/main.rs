//! The `tso-probe` command.

fn main() -> std::process::ExitCode {
    tso_probe::cli::main()
}
