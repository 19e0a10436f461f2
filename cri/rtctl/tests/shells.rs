//! Completion as bash asks for it, and manual pages as man reads them.

use std::path::Path;
use std::process::{Command, Output};

fn rtctl(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rtctl"));
    command.env("RT_ROOT", dir.join("root")).env("RT_STATE", dir.join("state")).env_remove("RT_SHIM");
    command.args(args).output().expect("rtctl runs")
}

/// What bash offers for words, of which the last one is being typed.
fn offered(dir: &Path, words: &[&str]) -> Vec<String> {
    let script =
        "source <(\"$1\" completion bash); shift; COMP_WORDS=(\"$@\"); COMP_CWORD=$(($# - 1)); _rtctl 2>/dev/null
        printf '%s\\n' \"${COMPREPLY[@]}\"";
    let program = env!("CARGO_BIN_EXE_rtctl");
    let mut command = Command::new("bash");
    command.env("RT_ROOT", dir.join("root")).env("RT_STATE", dir.join("state")).current_dir(dir);
    let output = command.args(["-c", script, "bash", program, program]).args(words).output().expect("bash runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    text.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let run = |args: &[&str]| {
        let output = rtctl(dir.path(), args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    run(&["create", "--rootfs", "/:O", "--name", "webserver", "true"]);
    run(&["volume", "create", "webdata"]);
    std::fs::write(dir.path().join("envfile"), "").expect("a file");
    let offered = |words: &[&str]| offered(dir.path(), words);
    assert_eq!(offered(&["vol"]), ["volume"]);
    assert_eq!(offered(&["start", "we"]), ["webserver"]);
    assert_eq!(offered(&["volume", "rm", ""]), ["webdata"]);
    assert_eq!(offered(&["run", "--pull", "=", "m"]), ["missing"]);
    assert_eq!(offered(&["run", "--volumes-from", "web"]), ["webserver"]);
    assert_eq!(offered(&["run", "--env-file", "env"]), ["envfile"]);
    assert_eq!(offered(&["run", "--volumes-"]), ["--volumes-from"]);
    assert_eq!(offered(&["run", "--network", "=", "ho"]), ["host"]);
    assert!(offered(&["nonsense", "x"]).is_empty());
    run(&["rm", "webserver"]);
}

#[test]
fn scripts_of_all_shells_have_no_errors() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let output = rtctl(dir.path(), &["completion", shell]);
        assert!(output.status.success() && output.stdout.starts_with(b"#"), "{shell}");
        let path = dir.path().join(shell);
        std::fs::write(&path, &output.stdout).expect("a file");
        // A shell that is not installed cannot be asked.
        let Ok(answer) = Command::new(shell).arg(check).arg(&path).output() else { continue };
        assert!(answer.status.success(), "{shell}: {}", String::from_utf8_lossy(&answer.stderr));
    }
    let output = rtctl(dir.path(), &["completion", "tcsh"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("bash"), "{output:?}");
}

#[test]
fn man_reads_all_pages() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let pages = dir.path().join("man1");
    let output = rtctl(dir.path(), &["man", "--dir", pages.to_str().expect("UTF-8")]);
    assert!(output.status.success(), "{output:?}");
    let mut names: Vec<_> =
        std::fs::read_dir(&pages).expect("pages").map(|page| page.expect("a page").path()).collect();
    names.sort();
    assert!(names.len() > 50, "{names:?}");
    let one = rtctl(dir.path(), &["man", "volume", "create"]);
    assert_eq!(one.stdout, std::fs::read(pages.join("rtctl-volume-create.1")).expect("the page"));
    let wrong = rtctl(dir.path(), &["man", "volum"]);
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("but rtctl-volume"), "{wrong:?}");
    for page in names {
        // man-db is not everywhere.
        let man = Command::new("man")
            .args(["--warnings", "-E", "UTF-8", "-l", "-Tutf8"])
            .arg(&page)
            .env("MANROFFSEQ", "")
            .output();
        let Ok(man) = man else { return };
        let problems = String::from_utf8_lossy(&man.stderr);
        assert!(man.status.success() && problems.trim().is_empty(), "{}: {problems}", page.display());
        // Bold is a letter struck twice.
        let mut text = String::new();
        for character in String::from_utf8_lossy(&man.stdout).chars() {
            match character {
                '\u{8}' => drop(text.pop()),
                character => text.push(character),
            }
        }
        assert!(text.contains("EXIT STATUS"), "{}: {text}", page.display());
    }
}
