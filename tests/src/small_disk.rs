//! A small file system over a folder, for tests of full disks. It lies in a mount namespace of its own: only programs that are started on it see
//! it, and it goes with the last of them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Covers the folder `$1` with `$2` bytes, with all that is in it, and stays for an hour at most.
const KEEPER: &str = r#"set -e
held=$(mktemp -d); cp -a "$1/." "$held"
mount -t tmpfs -o "size=$2" tmpfs "$1"
cp -a "$held/." "$1"; rm -rf "$held"
echo ready
exec sleep 3600"#;

/// The file system.
pub struct SmallDisk {
    /// Holds the namespace while nobody else is in it.
    keeper: Child,
    /// The folder, as seen from outside.
    folder: PathBuf,
    rootless: bool,
}

impl SmallDisk {
    /// Puts one of so many bytes over a folder and copies what is in it.
    ///
    /// # Panics
    /// When this user may not.
    pub fn over(folder: &Path, bytes: usize) -> Self {
        let may =
            |options| Command::new("unshare").args([options, "true"]).output().is_ok_and(|out| out.status.success());
        let options = ["-m", "-mUr"].into_iter().find(|options| may(options)).expect(
            "this test mounts a small file system: it needs root, or a kernel on which users may make namespaces (`unshare -mUr true`)",
        );
        let mut keeper = Command::new("unshare")
            .args([options, "sh", "-c", KEEPER, "keeper"])
            .arg(folder)
            .arg(bytes.to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare can be run");
        let mut said = String::new();
        let output = keeper.stdout.take().expect("the output is piped");
        BufReader::new(output).read_line(&mut said).expect("the keeper can be read");
        assert_eq!(said, "ready\n", "the file system can't be mounted over {}", folder.display());
        let seen = format!("/proc/{}/root{}", keeper.id(), folder.display());
        Self { keeper, folder: seen.into(), rootless: options != "-m" }
    }

    /// What a command begins with so that its program sees the file system. The program takes the place of all that is before it.
    pub fn enter(&self) -> Vec<String> {
        let pid = self.keeper.id().to_string();
        let words: &[&str] = if self.rootless {
            // In the namespace everybody is root, as whom PostgreSQL does not run; so back again.
            let (user, group) = (own_id("-u"), own_id("-g"));
            let back = [format!("--map-user={user}"), format!("--map-group={group}")];
            let first = ["nsenter", "--preserve-credentials", "-U", "-m", "-t", &pid, "--", "unshare", "-U"];
            return first.into_iter().map(str::to_owned).chain(back).chain(["--".to_owned()]).collect();
        } else {
            &["nsenter", "-m", "-t", &pid, "--"]
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn taken(&self) -> PathBuf {
        self.folder.join("somebody-elses")
    }

    /// Takes so many bytes, or what there is, for something else.
    ///
    /// # Panics
    /// When no file can be made at all.
    pub fn take(&self, bytes: usize) {
        let mut file = File::create(self.taken()).expect("a file can be made");
        let block = [7; 4 << 10];
        for _ in 0..bytes / block.len() {
            if file.write_all(&block).is_err() {
                return;
            }
        }
    }

    /// Takes all that is left.
    pub fn fill(&self) {
        self.take(usize::MAX);
    }

    /// Gives back what was taken.
    ///
    /// # Panics
    /// When nothing was.
    pub fn make_room(&self) {
        fs::remove_file(self.taken()).expect("something was taken");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.keeper.kill());
        drop(self.keeper.wait());
    }
}

fn own_id(which: &str) -> String {
    let output = Command::new("id").arg(which).output().expect("id can be run");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
