//! What the API server's answers mean to a controller.

use kobune_client::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kobune_client::kube::api::{DeleteParams, Preconditions};
use kobune_client::kube::{self, Api};

/// 404
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

/// 409 with reason Conflict
pub fn is_conflict(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "Conflict")
}

/// 409 with reason AlreadyExists
pub fn already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.reason == "AlreadyExists")
}

/// What the API server said, without what kube puts around it.
pub fn answer(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// The namespace is being deleted and takes nothing new: not a fault of the object.
pub fn namespace_is_terminating(error: &kube::Error) -> bool {
    let kube::Error::Api(status) = error else {
        return false;
    };
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    causes.iter().any(|cause| cause.reason == "NamespaceTerminating")
        || (status.code == 403 && status.message.contains("because it is being terminated"))
}

/// Turns "gone already" into a success.
pub fn unless_gone<T>(result: Result<T, kube::Error>) -> Result<Option<T>, kube::Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if is_not_found(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Deletes the object with this name and uid; false when it was gone already, be it that a namesake has
/// taken its place. A conflict alone does not say that: who has the name is asked of the API, and the
/// conflict is an error, to be tried again, while it is still the same object.
pub async fn delete_exactly<K>(
    api: &Api<K>,
    meta: &ObjectMeta,
    params: DeleteParams,
) -> Result<bool, kube::Error>
where
    K: Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let name = meta.name.as_deref().unwrap_or_default();
    let only_this = Preconditions {
        uid: meta.uid.clone(),
        resource_version: None,
    };
    match api.delete(name, &params.preconditions(only_this)).await {
        Ok(_) => Ok(true),
        Err(error) if is_not_found(&error) => Ok(false),
        Err(error) if is_conflict(&error) => {
            let live = api.get_metadata_opt(name).await?;
            match live.is_some_and(|live| live.metadata.uid == meta.uid) {
                true => Err(error),
                false => Ok(false),
            }
        }
        Err(error) => Err(error),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::{Arc, Mutex};

    use http::Response;
    use kobune_client::k8s_openapi::api::core::v1::Pod;
    use kube::client::Body;
    use serde_json::json;

    use super::*;

    type Asked = Arc<Mutex<Vec<String>>>;

    /// An API that gives these answers, one a request, and says what it was asked.
    pub(crate) fn api(answers: Vec<(u16, serde_json::Value)>) -> (Api<Pod>, Asked) {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (log, answers) = (asked.clone(), Arc::new(Mutex::new(answers.into_iter())));
        let client = kobune_client::in_process(move |request: http::Request<Body>| {
            log.lock().unwrap().push(request.method().to_string());
            let (code, body) = answers.lock().unwrap().next().expect("no more requests");
            let body = Body::from(body.to_string().into_bytes());
            async move { Response::builder().status(code).body(body).unwrap() }
        });
        (Api::namespaced(client, "a"), asked)
    }

    fn conflict() -> (u16, serde_json::Value) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Conflict",
            "message": "the object has been modified", "code": 409});
        (409, status)
    }

    fn metadata(uid: &str) -> (u16, serde_json::Value) {
        let found = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
            "metadata": {"name": "web-1", "namespace": "a", "uid": uid}});
        (200, found)
    }

    fn web_1() -> ObjectMeta {
        ObjectMeta {
            name: Some("web-1".into()),
            uid: Some("first".into()),
            ..ObjectMeta::default()
        }
    }

    #[tokio::test]
    async fn a_conflict_at_a_delete_is_no_success_while_the_object_is_there() {
        let (pods, asked) = api(vec![conflict(), metadata("first")]);
        let outcome = delete_exactly(&pods, &web_1(), DeleteParams::default()).await;
        assert!(is_conflict(&outcome.unwrap_err()));
        assert_eq!(*asked.lock().unwrap(), ["DELETE", "GET"]);
    }

    #[tokio::test]
    async fn a_namesake_is_left_alone() {
        let (pods, _) = api(vec![conflict(), metadata("second")]);
        let outcome = delete_exactly(&pods, &web_1(), DeleteParams::default()).await;
        assert!(!outcome.unwrap());
    }
}
