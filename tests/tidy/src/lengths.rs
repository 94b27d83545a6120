//! The longest files and functions, for a look.

use std::path::{Path, PathBuf};

use crate::manifest::root;

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return;
    };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        if path.is_dir() && !name.starts_with("target") && !name.starts_with('.') {
            sources(&path, found);
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
}

/// Lines from each `fn` to the brace that closes it at the same indentation (rustfmt's layout).
fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        let words: Vec<&str> = code
            .split_whitespace()
            .take_while(|word| !word.contains('('))
            .collect();
        if !code.contains("fn ") || code.starts_with("//") || !words.iter().all(is_keyword) {
            continue;
        }
        let close = format!("{}}}", &line[..line.len() - code.len()]);
        if let Some(length) = lines[start..].iter().position(|line| *line == close) {
            let name = code
                .split("fn ")
                .nth(1)
                .and_then(|rest| rest.split(['(', '<']).next())
                .unwrap_or_default();
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

fn is_keyword(word: &&str) -> bool {
    [
        "pub",
        "pub(crate)",
        "pub(super)",
        "async",
        "const",
        "unsafe",
        "fn",
        "extern",
        "\"C\"",
    ]
    .contains(word)
}

fn report(title: &str, mut rows: Vec<(String, usize)>) {
    rows.sort_by_key(|row| std::cmp::Reverse(row.1));
    println!("{title}:");
    for (name, lines) in rows.iter().take(10) {
        println!("  {lines:5}  {name}");
    }
}

#[test]
fn the_longest_files_and_functions_are_reported() {
    let (mut paths, mut files, mut longest) = (Vec::new(), Vec::new(), Vec::new());
    for folder in ["cmd", "pkg", "tests"] {
        sources(&root().join(folder), &mut paths);
    }
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("a source file is readable text");
        let name = path.strip_prefix(root()).unwrap_or(&path).display().to_string();
        longest.extend(
            functions(&text)
                .into_iter()
                .map(|(function, lines)| (format!("{name}: {function}"), lines)),
        );
        files.push((name, text.lines().count()));
    }
    assert!(!files.is_empty() && !longest.is_empty());
    report("longest files", files);
    report("longest functions", longest);
}
