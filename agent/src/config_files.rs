//! Reads the configuration and what it refers to: files, drop-ins, environment, credentials.
//!
//! What they mean is decided in [`pipeline::config`]; everything is read anew at each call.

use std::env;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use pipeline::config::{
    AgentConfig, BufferConfig, Config, Environment, Problem, Reference, SourceKind, SourceText,
};

/// The folder of drop-ins, beside the main file.
const DROP_IN_FOLDER: &str = "hydrant.d";

/// A configuration beyond this is not one.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// A secret beyond this is not one.
const SECRET_BYTES_MAX: u64 = 64 << 10;

/// More drop-ins than this are a folder that was named by mistake.
const DROP_INS_MAX: usize = 256;

/// The configuration of the file at `path` and its drop-ins with its warnings, or every problem.
pub(crate) fn load(path: &Path) -> Result<(Config, Vec<Problem>), Vec<Problem>> {
    let texts = texts(path)?;
    let (config, warnings) = pipeline::config::load(&texts, &Environment::new(&resolve))?;
    let problems = wildcard_problems(&path.display().to_string(), &config);
    if problems.is_empty() {
        Ok((config, warnings))
    } else {
        Err(problems)
    }
}

/// What the configuration at `path` says of the ring, even when the rest cannot be used here.
pub(crate) fn load_ring(
    path: &Path,
    buffer: &str,
) -> Result<(AgentConfig, BufferConfig), Vec<Problem>> {
    pipeline::config::load_ring(&texts(path)?, &Environment::new(&resolve), buffer)
}

/// Where the agent of the configuration at `path` listens for questions, even when the
/// configuration cannot be used here: secrets are the service's, and a broken file is when one asks.
pub(crate) fn control_socket(path: &Path) -> PathBuf {
    if let Ok((config, _)) = load(path) {
        return config.agent.control_socket;
    }
    // The last file that names one counts, as when they are merged.
    std::iter::once(path.to_owned())
        .chain(drop_ins(path).unwrap_or_default())
        .rev()
        .filter_map(|file| read(&file).ok())
        .find_map(|text| pipeline::config::control_socket(&text))
        .unwrap_or_else(|| PathBuf::from(pipeline::config::CONTROL_SOCKET_DEFAULT))
}

/// The file at `path` and its drop-ins.
fn texts(path: &Path) -> Result<Vec<SourceText>, Vec<Problem>> {
    let mut texts = Vec::new();
    let mut problems = Vec::new();
    let drop_ins = drop_ins(path).unwrap_or_else(|problem| {
        problems.push(problem);
        Vec::new()
    });
    for file in std::iter::once(path.to_owned()).chain(drop_ins) {
        match read(&file) {
            Ok(text) => texts.push(text),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(texts)
}

/// Paths with wildcards that cannot be read; only the agent knows the language of wildcards.
fn wildcard_problems(file: &str, config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, source) in &config.sources {
        let SourceKind::File(files) = &source.kind else {
            continue;
        };
        for error in files
            .paths
            .iter()
            .filter_map(|path| globset::Glob::new(path).err())
        {
            let mut problem = Problem::of_file(file, error.to_string());
            problem.path = format!("sources.{name}.paths");
            problems.push(problem);
        }
    }
    problems
}

/// The drop-ins beside `path` in the order of their names; none when there is no such folder.
fn drop_ins(path: &Path) -> Result<Vec<PathBuf>, Problem> {
    let folder = path.with_file_name(DROP_IN_FOLDER);
    let problem = |error: io::Error| Problem::of_file(folder.display().to_string(), cannot(&error));
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(problem(error)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let file = entry.map_err(problem)?.path();
        let hidden = file
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if file.extension() == Some(OsStr::new("toml")) && !hidden {
            found.push(file);
        }
        if found.len() > DROP_INS_MAX {
            let message = format!("has more than {DROP_INS_MAX} files");
            return Err(Problem::of_file(folder.display().to_string(), message));
        }
    }
    found.sort();
    Ok(found)
}

/// The text of a configuration file, of whichever program; or why it cannot be read.
pub(crate) fn read_bounded(path: &Path) -> Result<String, String> {
    let bytes = read_up_to(path, FILE_BYTES_MAX).map_err(|error| cannot(&error))?;
    String::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())
}

fn read(path: &Path) -> Result<SourceText, Problem> {
    let name = path.display().to_string();
    let bytes = match read_up_to(path, FILE_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) => return Err(Problem::of_file(name, cannot(&error))),
    };
    match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceText::new(name, text)),
        Err(error) => {
            let before = error.as_bytes().get(..error.utf8_error().valid_up_to());
            let lines = before
                .into_iter()
                .flatten()
                .filter(|byte| **byte == b'\n')
                .count();
            let mut problem = Problem::of_file(name, "is not UTF-8");
            problem.line = u32::try_from(lines + 1).unwrap_or(u32::MAX);
            Err(problem)
        }
    }
}

/// What a reference in the configuration stands for.
fn resolve(reference: Reference<'_>) -> Result<String, String> {
    match reference {
        Reference::Variable(name) => variable(name),
        Reference::File(path) if path.starts_with('/') => secret(Path::new(path), path),
        Reference::File(path) => Err(format!("file {path:?} is not an absolute path")),
        Reference::Credential(name) => credential(name),
    }
}

fn variable(name: &str) -> Result<String, String> {
    match env::var(name) {
        Ok(value) => Ok(value),
        // Shells know it, but seldom export it.
        Err(env::VarError::NotPresent) if name == "HOSTNAME" => host_name(),
        Err(env::VarError::NotPresent) => Err(format!("environment variable {name} is not set")),
        Err(env::VarError::NotUnicode(_)) => {
            Err(format!("environment variable {name} is not text"))
        }
    }
}

fn host_name() -> Result<String, String> {
    let names = rustix::system::uname();
    match names.nodename().to_str() {
        Ok(name) if !name.is_empty() => Ok(name.to_owned()),
        _ => Err("the host name cannot be read".to_owned()),
    }
}

fn credential(name: &str) -> Result<String, String> {
    if name.is_empty() || name.contains('/') || name.starts_with('.') {
        return Err(format!("{name:?} is no name of a credential"));
    }
    let Some(folder) = env::var_os("CREDENTIALS_DIRECTORY") else {
        return Err(format!(
            "credential {name} is not there, because CREDENTIALS_DIRECTORY is not set \
             (systemd sets it for a service with LoadCredential=)"
        ));
    };
    secret(
        &Path::new(&folder).join(name),
        &format!("credential {name}"),
    )
}

fn secret(path: &Path, what: &str) -> Result<String, String> {
    let bytes = read_up_to(path, SECRET_BYTES_MAX)
        .map_err(|error| format!("{what}: {}", cannot(&error)))?;
    String::from_utf8(bytes).map_err(|_| format!("{what}: is not UTF-8"))
}

/// The file at `path`, which must be a regular one: a pipe would be waited for without end.
fn read_up_to(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    File::open(path)?
        .take(bytes_max + 1)
        .read_to_end(&mut bytes)?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > bytes_max {
        return Err(io::Error::other(format!(
            "it has more than {bytes_max} bytes"
        )));
    }
    Ok(bytes)
}

fn cannot(error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::NotFound {
        return "cannot be read: it does not exist".to_owned();
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return "cannot be read: this user may not read it".to_owned();
    }
    format!("cannot be read: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of its own for a test, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = env::temp_dir().join(format!("hydrant-{name}-{}", std::process::id()));
            fs::create_dir_all(path.join(DROP_IN_FOLDER)).unwrap();
            Self(path)
        }

        fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
            let path = self.0.join(name);
            let mut file = File::create(&path).unwrap();
            io::Write::write_all(&mut file, bytes).unwrap();
            path
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    const MAIN: &str = "[agent]\nid = \"a\"\n[sources.app]\ntype = \"file\"\npaths = [\"/a\"]\n\
        [destinations.out]\ntype = \"http\"\nurl = \"https://c.example/\"\n";

    #[test]
    fn drop_ins_are_read_in_the_order_of_their_names() {
        let folder = Folder::new("drop-ins");
        let main = folder.write("hydrant.toml", MAIN.as_bytes());
        folder.write("hydrant.d/20-b.toml", b"[agent]\nid = \"second\"\n");
        folder.write(
            "hydrant.d/10-a.toml",
            b"[agent]\nid = \"first\"\nlog_level = \"debug\"\n",
        );
        folder.write("hydrant.d/.hidden.toml", b"rubbish");
        folder.write("hydrant.d/README", b"rubbish");
        let (config, warnings) = load(&main).unwrap();
        assert_eq!(config.agent.id, "second");
        assert_eq!(config.agent.log_level, pipeline::config::LogLevel::Debug);
        assert_eq!(warnings, []);
    }

    #[test]
    fn a_secret_is_read_from_a_file() {
        let folder = Folder::new("secrets");
        let secret = folder.write("token", b"t0ken\n");
        let main = folder.write(
            "hydrant.toml",
            format!("{MAIN}bearer = \"${{file:{}}}\"\n", secret.display()).as_bytes(),
        );
        let (config, _) = load(&main).unwrap();
        let pipeline::config::DestinationKind::Http(http) = &config.destinations["out"].kind else {
            panic!("not http")
        };
        let expected = pipeline::config::Secret::new("t0ken");
        assert_eq!(http.auth, pipeline::config::HttpAuth::Bearer(expected));
    }

    #[test]
    fn every_unreadable_file_is_reported() {
        let folder = Folder::new("unreadable");
        folder.write("hydrant.d/10.toml", b"[agent]\nid = \"\xff\"\n");
        fs::create_dir(folder.0.join("hydrant.d/20.toml")).unwrap();
        let problems = load(&folder.0.join("hydrant.toml")).unwrap_err();
        let shown: Vec<String> = problems.iter().map(Problem::to_string).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(
            shown[0].ends_with("hydrant.toml: cannot be read: it does not exist"),
            "{shown:?}"
        );
        assert!(
            shown[1].ends_with("hydrant.d/10.toml:2: is not UTF-8"),
            "{shown:?}"
        );
        assert!(
            shown[2].ends_with("20.toml: cannot be read: it is not a file"),
            "{shown:?}"
        );
    }

    #[test]
    fn wildcards_must_be_readable() {
        let folder = Folder::new("wildcards");
        let text = MAIN.replace("\"/a\"", "\"/a/[\", \"/b/*.log\", \"/c/{x\"");
        let problems = load(&folder.write("hydrant.toml", text.as_bytes())).unwrap_err();
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems
                .iter()
                .all(|problem| problem.path == "sources.app.paths")
        );
    }

    #[test]
    fn the_host_name_is_known() {
        assert!(resolve(Reference::Variable("HOSTNAME")).is_ok_and(|name| !name.is_empty()));
        assert!(resolve(Reference::Variable("HYDRANT_TEST_MISSING")).is_err());
        assert!(resolve(Reference::Credential("../x")).is_err());
        assert!(resolve(Reference::File("relative")).is_err());
    }
}
