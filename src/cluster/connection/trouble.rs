//! Why what files say cannot be followed: told once for each reason, though it is met with every request.

/// What is in the way at the moment.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// What came of following now: the reason why not, if it is to be told.
    pub(super) fn news(&mut self, followed: Result<(), String>) -> Option<&str> {
        let now = followed.err();
        let is_new = now != self.0;
        self.0 = now;
        self.0.as_deref().filter(|_| is_new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_is_told_once_until_it_is_over() {
        let mut trouble = Trouble::default();
        let told = [Err("a"), Err("a"), Err("b"), Ok(()), Ok(()), Err("b")].map(|followed| {
            let news = trouble.news(followed.map_err(str::to_owned));
            news.map(str::to_owned)
        });
        let expected = [Some("a"), None, Some("b"), None, None, Some("b")];
        assert_eq!(told.each_ref().map(Option::as_deref), expected);
    }
}
