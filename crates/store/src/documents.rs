//! Texts that agents can search.

use crate::{
    Error, Result, Store,
    engine::{Connection, Dialect, Record, list, record},
    words,
    writer::Write,
};
use uuid::Uuid;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub id: Uuid,
    pub integration_id: Option<String>,
    pub session_id: Option<Uuid>,
    pub title: String,
    pub content: String,
    /// JSON object.
    pub metadata: String,
    pub created_at: i64,
}

record!(Document { id, integration_id, session_id, title, content, metadata, created_at });

/// A document with how well it fits (larger is better) and where.
#[derive(Debug, Clone)]
pub struct Found {
    pub document: Document,
    pub score: f64,
    pub snippet: String,
}

record!(Found { score }, |row| { document: Record::read(row)?, snippet: String::new() });

struct Ingest {
    document: Document,
    /// A key that makes a repetition known, with the time until which it does.
    dedupe: Option<(String, i64)>,
}

const COLUMNS: &str = "d.id, d.integration_id, d.session_id, d.title, d.content, d.metadata, d.created_at";

impl Write for Ingest {
    type Answer = Uuid;

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<Uuid>>> {
        let mut answers = Vec::new();
        for Ingest { document, dedupe } in group {
            if let Some((key, expires)) = dedupe {
                let sql = "INSERT INTO dedupe (key, subject, expires_at) VALUES ($1, $2, $3) ON CONFLICT (key) DO UPDATE SET \
                           subject = excluded.subject, expires_at = excluded.expires_at WHERE dedupe.expires_at <= $4 RETURNING subject";
                let taken: Option<(Uuid,)> =
                    connection.first(sql, list![key, document.id, *expires, document.created_at]).await?;
                if taken.is_none() {
                    let first = connection.first("SELECT subject FROM dedupe WHERE key = $1", list![key]).await?;
                    answers.push(
                        first.map(|(id,)| id).ok_or_else(|| Error::Conflict("The key was in use a moment ago".into())),
                    );
                    continue;
                }
            }
            let sql = "INSERT INTO documents (id, rank, integration_id, session_id, title, content, metadata, created_at) \
                       SELECT $1, COALESCE(MAX(rank), 0) + 1, $2, $3, $4, $5, $6, $7 FROM documents RETURNING rank";
            let args = list![
                document.id,
                &document.integration_id,
                document.session_id,
                &document.title,
                &document.content,
                &document.metadata,
                document.created_at
            ];
            let row: Option<(i64,)> = connection.first(sql, args).await?;
            let rank = row.map(|(rank,)| rank);
            let (title, content) = (&document.title, &document.content);
            match connection.dialect() {
                Dialect::Sqlite => {
                    let sql = "INSERT INTO documents_text (rowid, title, content) VALUES ($1, $2, $3)";
                    connection.run(sql, list![rank, title, content]).await?
                }
                Dialect::Postgres => {
                    let sql = "INSERT INTO documents_text (rowid, words) VALUES ($1, $2::TEXT::TSVECTOR)";
                    connection.run(sql, list![rank, words::vector(title, content)]).await?
                }
            };
            answers.push(Ok(document.id));
        }
        Ok(answers)
    }
}

struct Remove {
    id: Uuid,
}

impl Write for Remove {
    type Answer = ();

    async fn run(group: &[&Self], connection: &mut Connection) -> Result<Vec<Result<()>>> {
        let mut answers = Vec::new();
        for remove in group {
            let row: Option<(i64,)> =
                connection.first("DELETE FROM documents WHERE id = $1 RETURNING rank", list![remove.id]).await?;
            answers.push(match row {
                Some((rank,)) => {
                    connection.run("DELETE FROM documents_text WHERE rowid = $1", list![rank]).await?;
                    Ok(())
                }
                None => Err(Error::NotFound(format!("There is no document {}", remove.id))),
            });
        }
        Ok(answers)
    }
}

impl Store {
    /// Stores a document, searchable when this returns. Answers its id, or that of the one with the same key.
    pub async fn ingest(&self, document: Document, dedupe: Option<(String, i64)>) -> Result<Uuid> {
        self.writer.write(Ingest { document, dedupe }).await
    }

    pub async fn document(&self, id: Uuid) -> Result<Option<Document>> {
        self.engine.read_first(format!("SELECT {COLUMNS} FROM documents d WHERE d.id = $1"), list![id]).await
    }

    pub async fn delete_document(&self, id: Uuid) -> Result<()> {
        self.writer.write(Remove { id }).await
    }

    /// Documents with any word of `q` in title or content, the best first. Titles count more.
    pub async fn search(
        &self,
        q: &str,
        integration: Option<&str>,
        session: Option<Uuid>,
        limit: i64,
    ) -> Result<Vec<Found>> {
        let wanted: Vec<String> =
            words::words(q).map(|(word, _)| word).filter(|word| !word.is_empty()).take(32).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let dialect = self.engine.dialect();
        let (score, fits) = match dialect {
            Dialect::Sqlite => ("-bm25(documents_text, 4.0, 1.0)", "documents_text MATCH $1"),
            Dialect::Postgres => {
                ("ts_rank('{0.25, 0.25, 0.25, 1}', words, $1::TEXT::TSQUERY, 1)::FLOAT8", "words @@ $1::TEXT::TSQUERY")
            }
        };
        let sql = format!(
            "SELECT {COLUMNS}, {score} AS score FROM documents_text JOIN documents d ON d.rank = documents_text.rowid WHERE {fits} \
             AND ($2 IS NULL OR d.integration_id = $2) AND ($3 IS NULL OR d.session_id = $3) ORDER BY score DESC, d.rank LIMIT $4"
        );
        let quoted = |quote: char| wanted.iter().map(|word| format!("{quote}{word}{quote}")).collect::<Vec<_>>();
        let query = match dialect {
            Dialect::Sqlite => quoted('"').join(" OR "),
            Dialect::Postgres => quoted('\'').join(" | "),
        };
        let mut found: Vec<Found> = self.engine.read(sql, list![query, integration, session, limit]).await?;
        for Found { document, snippet, .. } in &mut found {
            *snippet = words::snippet(&document.title, &document.content, &wanted);
        }
        Ok(found)
    }
}
