//! Writes the kubeconfig that leads to one server; JSON, which every reader of kubeconfigs takes as YAML.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::identity::Identity;

/// The bearer token of a kubeconfig.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Login<'a> {
    Anonymous,
    /// In the kubeconfig itself.
    Token(&'a str),
    /// In `ApiServer::token_file`, which `ApiServer::rotate_token` rewrites.
    TokenFile,
}

/// File name of the token inside the folder.
pub(super) const TOKEN_FILE: &str = "token";
/// That of the authority.
pub(super) const AUTHORITY_FILE: &str = "ca.crt";

/// Writes a new file into `folder`, with the one context `lab`; returns its path.
pub(super) fn write(
    folder: &Path,
    address: SocketAddr,
    identity: Option<&Identity>,
    login: Login<'_>,
) -> PathBuf {
    let mut user = match login {
        Login::Anonymous => json!({}),
        Login::Token(token) => json!({ "token": token }),
        Login::TokenFile => json!({ "tokenFile": folder.join(TOKEN_FILE) }),
    };
    let mut cluster = json!({ "server": url(address, identity.is_some()) });
    if let Some(identity) = identity {
        match login {
            Login::TokenFile => {
                cluster["certificate-authority"] = json!(folder.join(AUTHORITY_FILE));
            }
            Login::Anonymous | Login::Token(_) => {
                cluster["certificate-authority-data"] = base64(&identity.ca_pem);
            }
        }
        user["client-certificate-data"] = base64(&identity.client_pem);
        user["client-key-data"] = base64(&identity.client_key_pem);
    }
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "lab", "cluster": cluster }],
        "users": [{ "name": "lab", "user": user }],
        "contexts": [{ "name": "lab", "context": { "cluster": "lab", "user": "lab" } }],
        "current-context": "lab",
    });
    let file = tempfile::Builder::new()
        .prefix("kubeconfig-")
        .tempfile_in(folder)
        .expect("the folder is ours");
    fs::write(&file, kubeconfig.to_string()).expect("the folder is ours");
    // The folder is removed with the server, and the file with it.
    file.into_temp_path().keep().expect("the folder is ours")
}

pub(super) fn url(address: SocketAddr, secure: bool) -> String {
    format!("{}://{address}", if secure { "https" } else { "http" })
}

fn base64(text: &str) -> Value {
    serde_json::to_value(ByteString(text.as_bytes().to_vec())).expect("base64 is a string")
}
