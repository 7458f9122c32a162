//! The program as it is run: answers on stdout, failures on stderr, exit codes.

use std::process::{Command, Output};

#[test]
fn the_schema_is_json_on_stdout() {
    let output = run(&["classify", "--json-schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!(schema["title"], "tso-probe/classify/1");
    assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
}

#[test]
fn presets_are_listed_for_people_and_programs() {
    let list = run(&["lab", "list", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&list.stdout).expect("it is JSON");
    assert_eq!(list["schema"], "tso-probe/lab-list/1");
    assert!(stdout(&run(&["lab", "list"])).contains("openwrt-kernel"));
}

#[test]
fn arguments_that_make_no_sense_exit_with_two_and_a_hint() {
    for arguments in
        [["classify", "--nonsense"], ["man", "nonsense"], ["serve", "--control-port=0"]]
    {
        let output = run(&arguments);
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{stderr}");
        assert!(stderr.starts_with("error: ") && stderr.contains("\nhint: "), "{stderr}");
    }
}

#[test]
fn help_is_an_answer() {
    for arguments in [["classify", "--help"], ["doctor", "--help"], ["serve", "--help"]] {
        let output = run(&arguments);
        assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0));
        assert!(stdout(&output).contains("Usage: tso-probe"));
    }
}

#[test]
fn every_command_has_a_manual_page() {
    for command in ["classify", "doctor", "serve", "lab", "completions", "man"] {
        let page = stdout(&run(&["man", command]));
        assert!(page.contains(&format!(".TH tso-probe-{command} 1")), "{page}");
    }
    assert!(stdout(&run(&["man"])).contains(".TH tso-probe 1"));
}

#[test]
fn every_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(stdout(&run(&["completions", shell])).contains("json-schema"), "{shell}");
    }
}

fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tso-probe"));
    command.args(arguments).output().expect("the program can be run")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
