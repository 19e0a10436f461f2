//! The tags of a repository in its registry.
//!
//! Source: distribution-spec 1.1, "Listing Tags".

use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, Url};
use runtime::json;
use serde::Deserialize;

use super::super::cancel::Cancel;
use super::super::error::Error;
use super::super::reference::Reference;
use super::Registry;
use super::answer::printable;
use super::credentials::Lookup;
use super::endpoint::Wish;
use super::exchange::{Ask, Session, read_body};
use super::fault::Fault;

/// Most bytes of one list, and most tags of a repository.
const LIST_BYTES: u64 = 4 << 20;
const TAGS_MAX: usize = 10_000;
/// How many tags are asked for at a time.
const PAGE: &str = "1000";

#[derive(Deserialize)]
struct Page {
    /// `null` of a repository whose tags were all removed.
    tags: Option<Vec<String>>,
}

impl Registry {
    /// All tags of the repository of `name`, as references, in the order of the registry.
    ///
    /// # Errors
    /// [`Error::Registry`] with every endpoint that was tried.
    pub fn tags(&self, name: &Reference, credentials: &Lookup, cancel: &Cancel) -> Result<Vec<Reference>, Error> {
        let endpoints = self.inner.endpoints(name.domain())?;
        let scope = format!("repository:{}:pull", name.path());
        self.block_on(cancel, async {
            let mut faults = Vec::new();
            for endpoint in endpoints.into_iter().filter(|at| Wish::Resolve.is_granted(at.capabilities)) {
                match list(&Session::new(&self.inner, endpoint, credentials, scope.clone()), name).await {
                    Ok(tags) => return Ok(tags),
                    Err(fault) => faults.push(fault),
                }
            }
            Err(Error::Registry { what: format!("tags of {}", name.familiar_repository()), faults })
        })
    }
}

async fn list(session: &Session, name: &Reference) -> Result<Vec<Reference>, Fault> {
    let mut url = session.endpoint.url(name.path(), "tags", "list");
    url.query_pairs_mut().append_pair("n", PAGE);
    let mut tags: Vec<Reference> = Vec::new();
    loop {
        let ask = Ask::new(Method::GET, url.clone());
        let call = ask.call();
        let rule = |reason: String| Fault::Answer { call: call.clone(), reason };
        let response = session.send(&ask).await?;
        let next = next(response.headers(), &url).map_err(rule)?;
        let page: Page = json::from_slice(&read_body(&call, response, LIST_BYTES).await?)
            .map_err(|error| rule(format!("the answer is no list of tags: {error}")))?;
        let before = tags.len();
        for tag in page.tags.unwrap_or_default() {
            let reference = format!("{}:{tag}", name.repository()).parse();
            tags.push(reference.map_err(|_| rule(format!("{:?} is no tag", printable(&tag))))?);
            if tags.len() > TAGS_MAX {
                return Err(rule(format!("more than {TAGS_MAX} tags; pull those that are needed by name")));
            }
        }
        match next {
            Some(next) if tags.len() > before => url = next,
            // A page without tags ends the list, so that no registry makes one without an end.
            Some(_) | None => return Ok(tags),
        }
    }
}

/// Where the list goes on: `Link: <ADDRESS>; rel="next"`, at the same host.
fn next(headers: &HeaderMap, url: &Url) -> Result<Option<Url>, String> {
    let Some(link) = headers.get(LINK) else { return Ok(None) };
    let text = link.to_str().unwrap_or_default();
    let target = text.split_once('<').and_then(|(_, rest)| rest.split_once('>'));
    let Some((target, rest)) = target else { return Err("its Link is no address in <>".into()) };
    let rel = rest.replace([' ', '"'], "");
    if !rel.split(';').any(|part| part == "rel=next") {
        return Ok(None);
    }
    match url.join(target) {
        Ok(next) if next.origin() == url.origin() => Ok(Some(next)),
        Ok(_) => Err("its list goes on at another host, which is refused".into()),
        Err(_) => Err("its Link is no address".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_of_the_same_host() {
        let url = Url::parse("https://host/v2/app/tags/list?n=2").unwrap();
        let rows = [
            (r#"</v2/app/tags/list?n=2&last=b>; rel="next""#, Ok(Some("https://host/v2/app/tags/list?n=2&last=b"))),
            (r"<https://host/x>;rel=next", Ok(Some("https://host/x"))),
            (r#"</x>; rel="prev""#, Ok(None)),
            (r#"<https://other/x>; rel="next""#, Err("its list goes on at another host, which is refused")),
            (r#"<http://host/x>; rel="next""#, Err("its list goes on at another host, which is refused")),
            ("/x; rel=next", Err("its Link is no address in <>")),
        ];
        for (text, expected) in rows {
            let headers = HeaderMap::from_iter([(LINK, text.parse().unwrap())]);
            let found = next(&headers, &url).map(|url| url.map(String::from));
            assert_eq!(found.as_ref().map(Option::as_deref).map_err(String::as_str), expected, "{text}");
        }
    }
}
