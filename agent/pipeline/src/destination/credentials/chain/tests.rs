use super::*;
use crate::config::Secret;

const SHARED: &str = "[default]\naws_access_key_id = SHARED\naws_secret_access_key = S\n\
                      [tool]\ncredential_process = \"/opt/my tool\" --json\n\
                      [bad]\ncredential_process = \"\n[empty]\nregion = eu-west-1\n";

/// What the plan is, in a word.
fn word(plan: Result<Plan, String>) -> String {
    match plan {
        Ok(Plan::Keys(keys)) => keys.access_key_id,
        Ok(Plan::Process(words)) => words.join("|"),
        Ok(Plan::Container(container)) => container.url,
        Ok(Plan::Metadata { endpoint }) => endpoint,
        Ok(Plan::IotCore(config)) => config.role_alias,
        Ok(Plan::RolesAnywhere { config, region }) => config.role_arn + &region,
        Ok(Plan::WebIdentity { token_file, role }) => {
            format!("{} {}", shown(&role), token_file.display())
        }
        Ok(Plan::Role { role, with }) => format!("{} <- {}", shown(&role), word(Ok(*with))),
        Err(error) => error,
    }
}

fn shown(role: &Role) -> String {
    let seconds = role.duration.map(|duration| duration.as_secs());
    let more = (&role.external_id, seconds, &role.endpoint);
    let more = match more {
        (None, None, None) => String::new(),
        more => format!("{more:?}"),
    };
    format!(
        "{}@{} as {}{more}",
        role.arn, role.region, role.session_name
    )
}

/// The plan of `config` with these variables; the only files are those in `files`.
fn check(
    config: &CredentialsConfig,
    variables: &[(&str, &str)],
    files: &[(&str, &str)],
    is_instance: bool,
    expected: &str,
) {
    let variable = |name: &str| {
        let found = variables.iter().find(|(key, _)| *key == name)?;
        Some(found.1.to_owned())
    };
    let read = |path: &Path| {
        let found = files.iter().find(|(name, _)| Path::new(name) == path);
        found
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| "not there".to_owned())
    };
    let around = Surroundings {
        variable: &variable,
        read: &read,
        is_instance,
        region: "eu-west-1",
        session_name: "gateway",
    };
    let found = word(plan(config, &around));
    assert!(found.starts_with(expected), "{found:?} is not {expected:?}");
}

fn default(profile: Option<&str>, file: Option<&str>) -> CredentialsConfig {
    CredentialsConfig::Default {
        profile: profile.map(str::to_owned),
        file: file.map(PathBuf::from),
    }
}

const HOME: (&str, &str) = ("HOME", "/h");
const ID: (&str, &str) = ("AWS_ACCESS_KEY_ID", "ENV");
const SECRET: (&str, &str) = ("AWS_SECRET_ACCESS_KEY", "S");
const CONTAINER: (&str, &str) = ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://localhost/c");
const METADATA: &str = "http://169.254.169.254";

#[test]
fn what_is_found_first_counts() {
    let config = default(None, None);
    let files = [("/h/.aws/credentials", SHARED)];
    let check = |variables: &[(&str, &str)], files: &[(&str, &str)], is_instance, expected| {
        check(&config, variables, files, is_instance, expected);
    };
    check(&[ID, SECRET, HOME, CONTAINER], &files, true, "ENV");
    check(&[ID, HOME, CONTAINER], &files, true, "SHARED");
    check(&[HOME, CONTAINER], &[], true, "http://localhost/c");
    check(&[HOME], &[], true, METADATA);
    let disabled = ("AWS_EC2_METADATA_DISABLED", "True");
    check(
        &[HOME, disabled],
        &[],
        true,
        "/h/.aws/credentials cannot be read (not there); set AWS",
    );
    // Whoever answers at that address on a plant's network is not asked.
    check(
        &[HOME],
        &[],
        false,
        "/h/.aws/credentials cannot be read (not there); set AWS",
    );
    check(&[], &[], false, "set AWS_ACCESS_KEY_ID");
    // Who names a profile means it.
    check(
        &[HOME, CONTAINER, ("AWS_PROFILE", "none")],
        &files,
        true,
        "/h/.aws/credentials: no profile \"none\"",
    );
}

#[test]
fn profiles_come_from_both_files() {
    let files = [
        ("/h/.aws/credentials", SHARED),
        (
            "/h/.aws/config",
            "[profile c]\naws_access_key_id=CONFIG\naws_secret_access_key=S\n",
        ),
        (
            "/other",
            "[default]\naws_access_key_id=OTHER\naws_secret_access_key=S\n",
        ),
    ];
    let check = |profile, file, more: &[(&str, &str)], expected| {
        let variables = [&[HOME, ID, SECRET], more].concat();
        check(&default(profile, file), &variables, &files, false, expected);
    };
    check(Some("default"), None, &[], "SHARED");
    check(Some("tool"), None, &[], "/opt/my tool|--json");
    check(
        Some("bad"),
        None,
        &[],
        "credential_process of profile \"bad\" has a quote",
    );
    check(
        Some("empty"),
        None,
        &[],
        "/h/.aws/credentials: profile \"empty\" has no aws_access_key_id",
    );
    check(Some("c"), None, &[], "CONFIG");
    check(None, Some("/other"), &[], "OTHER");
    check(None, Some("/gone"), &[], "/gone cannot be read (not there)");
    check(Some("c"), Some("/other"), &[], "/other: no profile \"c\"");
    let elsewhere = ("AWS_SHARED_CREDENTIALS_FILE", "/other");
    check(Some("default"), None, &[elsewhere], "OTHER");
    check(
        None,
        Some("/h/.aws/credentials"),
        &[("AWS_PROFILE", "tool")],
        "/opt/my tool|--json",
    );
}

#[test]
fn what_is_configured_is_not_looked_for() {
    let check = |config: &CredentialsConfig, variables: &[(&str, &str)], expected| {
        check(config, variables, &[], false, expected);
    };
    let written = CredentialsConfig::Static {
        access_key_id: "WRITTEN".to_owned(),
        secret_access_key: Secret::new("S"),
        session_token: None,
    };
    check(&written, &[ID, SECRET], "WRITTEN");
    let command = vec!["/bin/keys".to_owned(), "a b".to_owned()];
    check(
        &CredentialsConfig::Process { command },
        &[ID, SECRET],
        "/bin/keys|a b",
    );
    let instance = CredentialsConfig::InstanceMetadata;
    check(&instance, &[ID, SECRET], METADATA);
    let mode = ("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE", "IPv6");
    check(&instance, &[mode], "http://[fd00:ec2::254]");
    let endpoint = ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://127.0.0.1:1");
    check(&instance, &[mode, endpoint], "http://127.0.0.1:1");
}

const ROLES: &str = "[profile user]\naws_access_key_id = USER\naws_secret_access_key = S\n\
                     role_arn = own\nsource_profile = user\n\
                     [profile a]\nrole_arn = role-a\nsource_profile = b\nregion = us-east-1\n\
                     [profile b]\nrole_arn = role-b\nsource_profile = user\n\
                     external_id = x\nduration_seconds = 900\nrole_session_name = me\n\
                     [profile token]\nrole_arn = role-t\nweb_identity_token_file = /t\n\
                     [profile env]\nrole_arn = role-e\ncredential_source = Environment\n\
                     [profile ec2]\nrole_arn = role-i\ncredential_source = Ec2InstanceMetadata\n\
                     [profile ecs]\nrole_arn = role-c\ncredential_source = EcsContainer\n\
                     [profile odd]\nrole_arn = r\ncredential_source = Moon\n\
                     [profile alone]\nrole_arn = r\n\
                     [profile ring]\nrole_arn = r\nsource_profile = round\n\
                     [profile round]\nrole_arn = r\nsource_profile = ring\n";

#[test]
fn profiles_take_roles() {
    let files = [("/h/.aws/config", ROLES)];
    let check = |profile: &str, more: &[(&str, &str)], expected: &str| {
        let variables = [&[HOME], more].concat();
        check(
            &default(Some(profile), None),
            &variables,
            &files,
            false,
            expected,
        );
    };
    check("user", &[], "own@eu-west-1 as gateway <- USER");
    check(
        "a",
        &[],
        "role-a@us-east-1 as gateway <- \
         role-b@eu-west-1 as me(Some(\"x\"), Some(900), None) <- own@eu-west-1 as gateway <- USER",
    );
    check("token", &[], "role-t@eu-west-1 as gateway /t");
    check("env", &[ID, SECRET], "role-e@eu-west-1 as gateway <- ENV");
    let path = "/h/.aws/credentials: profile";
    check(
        "env",
        &[],
        &format!("{path} \"env\" wants keys in the environment"),
    );
    check(
        "ec2",
        &[],
        "role-i@eu-west-1 as gateway <- http://169.254.169.254",
    );
    check(
        "ecs",
        &[CONTAINER],
        "role-c@eu-west-1 as gateway <- http://localhost/c",
    );
    check(
        "ecs",
        &[],
        &format!("{path} \"ecs\" wants a container's endpoint"),
    );
    check(
        "odd",
        &[],
        &format!("{path} \"odd\" has a credential_source that is not known"),
    );
    check(
        "alone",
        &[],
        &format!("{path} \"alone\" has neither source_profile nor"),
    );
    check(
        "ring",
        &[],
        &format!("{path} \"round\" names roles in a circle"),
    );
    let sts = ("AWS_ENDPOINT_URL_STS", "http://s");
    check(
        "token",
        &[sts],
        "role-t@eu-west-1 as gateway(None, None, Some(\"http://s\")) /t",
    );
}

#[test]
fn roles_are_taken_as_configured() {
    let role = RoleConfig {
        arn: "arn".to_owned(),
        session_name: Some("me".to_owned()),
        external_id: Some("x".to_owned()),
        duration: Some(Duration::from_mins(15)),
        endpoint: Some("http://mine".to_owned()),
        ca_file: None,
    };
    let sts = ("AWS_ENDPOINT_URL_STS", "http://s");
    let shown = "arn@eu-west-1 as me(Some(\"x\"), Some(900), Some(\"http://mine\"))";
    let config = CredentialsConfig::Role {
        role: role.clone(),
        with: Box::new(default(None, None)),
    };
    check(
        &config,
        &[ID, SECRET, sts],
        &[],
        false,
        &format!("{shown} <- ENV"),
    );
    let token_file = PathBuf::from("/t");
    let config = CredentialsConfig::WebIdentity { token_file, role };
    check(
        &config,
        &[ID, SECRET, sts],
        &[],
        false,
        &format!("{shown} /t"),
    );
    let token = [
        HOME,
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/t"),
        ("AWS_ROLE_ARN", "arn"),
        ("AWS_ROLE_SESSION_NAME", "pod"),
    ];
    check(
        &default(None, None),
        &token,
        &[],
        false,
        "arn@eu-west-1 as pod /t",
    );
    let both = [&token[..], &[ID, SECRET]].concat();
    check(&default(None, None), &both, &[], false, "ENV");
}
