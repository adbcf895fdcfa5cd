//! Both engines have the same tables, and as little as possible is written for one of them alone.

use crate::world::{World, postgres_store, store};
use std::{collections::BTreeSet, fs, path::Path};

/// What one engine has and the other does not, and why.
const DIFFERENT: [(&str, &str); 4] = [
    ("column documents_text.title text null", "SQLite keeps the text that FTS5 searches"),
    ("column documents_text.content text null", "the same"),
    ("column documents_text.words tsvector", "PostgreSQL keeps its words"),
    (
        "column workers.commits integer default 0",
        "only a COMMIT that went through a network can stay without an answer",
    ),
];

async fn lines(world: &World, queries: &[&'static str]) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for sql in queries {
        lines.extend(world.rows(sql).await.into_iter().map(|line| line.to_lowercase().replace(" '", "'")));
    }
    lines
}

#[tokio::test]
async fn the_schemas_agree() {
    let sqlite = lines(
        &store().await,
        &[
            "SELECT 'column ' || m.name || '.' || c.name || ' ' || CASE c.type WHEN 'BLOB' THEN 'bytes' WHEN '' THEN 'text' \
             ELSE c.type END || CASE WHEN c.\"notnull\" OR c.pk THEN '' ELSE ' null' END || \
             CASE WHEN c.dflt_value IS NULL THEN '' ELSE ' default ' || c.dflt_value END \
             FROM sqlite_schema m JOIN pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' \
             AND m.name NOT LIKE 'documents_text_%' AND m.name <> '_sqlx_migrations'",
            "SELECT 'key ' || m.name || ' ' || group_concat(c.name, ',') FROM sqlite_schema m \
             JOIN (SELECT * FROM sqlite_schema) x ON x.name = m.name JOIN pragma_table_info(m.name) c \
             WHERE m.type = 'table' AND c.pk > 0 AND m.name NOT LIKE 'sqlite_%' AND m.name NOT LIKE 'documents_text%' \
             AND m.name <> '_sqlx_migrations' GROUP BY m.name",
            "SELECT 'index ' || m.name || CASE WHEN l.\"unique\" THEN ' unique ' ELSE ' ' END || group_concat(i.name, ',') || \
             CASE WHEN l.partial THEN ' some' ELSE '' END FROM sqlite_schema m JOIN pragma_index_list(m.name) l \
             JOIN pragma_index_info(l.name) i WHERE m.type = 'table' AND l.origin <> 'pk' AND m.name NOT LIKE 'documents_text%' \
             AND m.name <> '_sqlx_migrations' GROUP BY m.name, l.name",
        ],
    )
    .await;
    let postgres = lines(
        &postgres_store().await,
        &[
            "SELECT 'column ' || table_name || '.' || column_name || ' ' || CASE data_type WHEN 'bigint' THEN 'integer' \
             WHEN 'uuid' THEN 'bytes' WHEN 'bytea' THEN 'bytes' ELSE data_type END || \
             CASE is_nullable WHEN 'YES' THEN ' null' ELSE '' END || CASE WHEN column_default IS NULL \
             OR column_default LIKE 'nextval(%' THEN '' ELSE ' default ' || split_part(column_default, '::', 1) END \
             FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name <> '_sqlx_migrations' AND column_name <> 'rowid'",
            "SELECT 'key ' || table_name || ' ' || string_agg(column_name, ',' ORDER BY ordinal_position) \
             FROM information_schema.key_column_usage WHERE constraint_name LIKE '%_pkey' \
             AND table_name NOT IN ('_sqlx_migrations', 'documents_text') GROUP BY table_name",
            "SELECT 'index ' || t.relname || CASE WHEN i.indisunique THEN ' unique ' ELSE ' ' END || \
             (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k (column_number, n) \
             JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = k.column_number) || \
             CASE WHEN i.indpred IS NULL THEN '' ELSE ' some' END FROM pg_index i JOIN pg_class t ON t.oid = i.indrelid \
             JOIN pg_namespace s ON s.oid = t.relnamespace WHERE s.nspname = 'public' AND NOT i.indisprimary \
             AND t.relname <> 'documents_text'",
        ],
    )
    .await;
    assert!(sqlite.len() > 150, "{sqlite:#?}");
    let different: Vec<&String> = sqlite.symmetric_difference(&postgres).collect();
    let mut expected: Vec<&str> = DIFFERENT.iter().map(|(line, _)| *line).collect();
    expected.sort_unstable();
    assert_eq!(different, expected);
}

#[test]
fn conditions_of_partial_indexes_are_the_same_text() {
    let indexes = |engine: &str| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(engine);
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        let text: String = files.iter().map(|file| fs::read_to_string(file).unwrap() + "\n").collect();
        // A condition may stand on a line of its own.
        let statements = text.split(";\n").filter_map(|piece| Some(piece.trim_start().rsplit_once("CREATE ")?.1));
        let indexes = statements.filter(|rest| rest.starts_with("INDEX ") || rest.starts_with("UNIQUE INDEX "));
        let words = |index: &str| index.split_whitespace().collect::<Vec<_>>().join(" ");
        indexes.filter(|index| !index.contains("gin (words)")).map(words).collect::<Vec<_>>()
    };
    assert!(indexes("sqlite").len() > 20, "{:#?}", indexes("sqlite"));
    assert_eq!(indexes("sqlite"), indexes("postgres"));
}

/// Locks of rows (two pieces), storing and searching words (two pieces and the question), finding our tables, their
/// names and their sizes (from inside and from outside).
const WRITTEN_TWICE: usize = 9;

#[test]
fn few_statements_are_written_twice() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut places = Vec::new();
    let mut folders = vec![source];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                if !path.ends_with("postgres") {
                    folders.push(path);
                }
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let found = text.matches(".either(").count() + text.matches("Dialect::Postgres => ").count();
            places.extend((name != "dialect.rs" || found > 0).then(|| vec![name; found]).into_iter().flatten());
        }
    }
    places.sort();
    assert_eq!(places.len(), WRITTEN_TWICE, "{places:?}");
}
