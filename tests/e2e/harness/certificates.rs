//! A small certificate authority, made by openssl for one test.

use std::path::Path;

use super::{Folder, program::run, write};

/// The files of an authority, a server on loopback and a client.
pub(crate) struct Certificates {
    pub(crate) ca: String,
    pub(crate) server: (String, String),
    pub(crate) client: (String, String),
}

impl Certificates {
    pub(crate) fn make(folder: &Folder) -> Self {
        Certificates::make_with(folder, &[])
    }

    /// Those that were made two days before they expired, at this moment, such as
    /// `2026-11-02 00:00:00`.
    pub(crate) fn make_at(folder: &Folder, moment: &str) -> Self {
        Certificates::make_with(folder, &["faketime", moment])
    }

    fn make_with(folder: &Folder, wrapper: &[&str]) -> Self {
        let openssl = |args: &[&str]| {
            let words = [wrapper, &["openssl"], args].concat();
            run(words[0], &words[1..]);
        };
        let make = folder.make("certificates");
        let file = |name: &str| make.join(name).to_str().unwrap().to_owned();
        let (ca, ca_key) = (file("ca.pem"), file("ca.key"));
        let mut args = vec!["req", "-x509", "-newkey", "ec", "-pkeyopt"];
        args.extend([
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "2",
            "-subj",
        ]);
        args.extend(["/CN=Test authority", "-keyout", &ca_key, "-out", &ca]);
        openssl(&args);
        let signed = |name: &str, extensions: &str| {
            let certificate = file(&format!("{name}.pem"));
            let key = file(&format!("{name}.key"));
            let request = file(&format!("{name}.csr"));
            let subject = format!("/CN={name}");
            let mut args = vec![
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
            ];
            args.extend([
                "-nodes", "-subj", &subject, "-keyout", &key, "-out", &request,
            ]);
            openssl(&args);
            let named = file(&format!("{name}.ext"));
            write(Path::new(&named), extensions);
            let mut args = vec![
                "x509", "-req", "-in", &request, "-CA", &ca, "-CAkey", &ca_key,
            ];
            args.extend(["-CAcreateserial", "-days", "2", "-extfile", &named]);
            args.extend(["-out", &certificate]);
            openssl(&args);
            (certificate, key)
        };
        let server = signed(
            "server",
            "subjectAltName=DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth\n",
        );
        let client = signed("client", "extendedKeyUsage=clientAuth\n");
        Certificates { ca, server, client }
    }

    /// The `tls` table of a client that shows its own certificate.
    pub(crate) fn client_table(&self) -> String {
        format!(
            "tls = {{ ca_file = \"{}\", certificate_file = \"{}\", key_file = \"{}\" }}\n",
            self.ca, self.client.0, self.client.1
        )
    }

    /// The `tls` table of a client that shows none.
    pub(crate) fn anonymous_table(&self) -> String {
        format!("tls = {{ ca_file = \"{}\" }}\n", self.ca)
    }
}
