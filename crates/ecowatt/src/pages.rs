//! Lists that the server answers in pages.

/// The first items of a list.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FirstItems<T> {
    pub(crate) items: Vec<T>,
    /// Whether the list has more.
    pub(crate) has_more: bool,
}

/// One page, and the cursor of the next.
pub(crate) type Page<T> = (Vec<T>, Option<String>);

/// Asks for pages until they have `limit` items or the list ends. `ask` gets the cursor of the page.
///
/// # Errors
/// Those of `ask`.
pub(crate) fn first<T>(
    limit: usize,
    mut ask: impl FnMut(Option<String>) -> anyhow::Result<Page<T>>,
) -> anyhow::Result<FirstItems<T>> {
    let (mut items, mut cursor) = (Vec::new(), None);
    while items.len() < limit {
        let (page, next) = ask(cursor)?;
        items.extend(page);
        cursor = next;
        if cursor.is_none() {
            break;
        }
    }
    let has_more = cursor.is_some() || items.len() > limit;
    items.truncate(limit);
    Ok(FirstItems { items, has_more })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lists 0 to 6 in pages of three.
    fn numbers(cursor: Option<String>) -> anyhow::Result<Page<u32>> {
        let from: u32 = cursor.map_or(Ok(0), |cursor| cursor.parse())?;
        let next = (from + 3 < 7).then(|| (from + 3).to_string());
        Ok(((from..7).take(3).collect(), next))
    }

    #[test]
    fn pages_are_asked_for_until_there_are_enough() {
        for (limit, found, has_more) in
            [(1, 1, true), (3, 3, true), (4, 4, true), (7, 7, false), (9, 7, false)]
        {
            let expected = FirstItems { items: (0..found).collect(), has_more };
            assert_eq!(first(limit, numbers).unwrap(), expected, "{limit}");
        }
    }

    #[test]
    fn error_of_a_page_ends_the_list() {
        let second_fails = |cursor: Option<String>| match cursor {
            None => numbers(None),
            Some(_) => anyhow::bail!("no answer"),
        };
        assert_eq!(first(3, second_fails).unwrap().items, [0, 1, 2]);
        assert!(first(4, second_fails).is_err());
    }
}
