//! The folders that are measured, as somebody would write them.

use anyhow::Result;
use std::{fs, path::Path};

/// A Python folder with one tool, `<id>_echo`.
pub fn python_tool(root: &Path, id: &str) -> Result<()> {
    python_tool_that_says(root, id, "first")
}

/// The same; the tool answers its text and this word.
pub fn python_tool_that_says(root: &Path, id: &str, word: &str) -> Result<()> {
    let tool = format!(
        r#"from integrations._register import register


@register({{
    "type": "function",
    "function": {{
        "name": "{id}_echo",
        "description": "Says it again.",
        "parameters": {{"type": "object", "properties": {{"text": {{"type": "string"}}}}, "required": ["text"]}},
    }},
}})
async def echo(text: str) -> dict:
    return {{"text": text, "word": "{word}"}}
"#
    );
    write(root, &format!("{id}/tools/echo.py"), &tool)
}

/// A folder whose worker is a Node program, with the tool `<id>_echo`.
pub fn node_tool(root: &Path, id: &str) -> Result<()> {
    let manifest = format!(
        r#"schema: 1
name: {id}
worker:
  command: [node, worker.mjs]
tools:
  - name: {id}_echo
    description: Says it again.
    effect: write
    args: {{text: {{type: string}}}}
"#
    );
    write(root, &format!("{id}/integration.yaml"), &manifest)?;
    write(root, &format!("{id}/worker.mjs"), include_str!("worker.mjs"))
}

/// A Python folder with the route `POST /integrations/<id>/ingest`.
pub fn python_route(root: &Path, id: &str) -> Result<()> {
    write(root, &format!("{id}/router.py"), include_str!("router.py"))
}

/// A Python folder that watches what tools do.
pub fn python_hook(root: &Path, id: &str) -> Result<()> {
    let hooks = format!(
        r#"from app.agent.hooks import HookContext, IntegrationMeta, register_hook, register_integration

register_integration(IntegrationMeta(integration_type="{id}", client_id_prefix="{id}:"))


async def seen(ctx: HookContext, **kwargs) -> None:
    print(ctx.extra["response_length"])


register_hook("after_response", seen)
"#
    );
    write(root, &format!("{id}/hooks.py"), &hooks)
}

fn write(root: &Path, file: &str, text: &str) -> Result<()> {
    let file = root.join(file);
    if let Some(directory) = file.parent() {
        fs::create_dir_all(directory)?;
    }
    Ok(fs::write(file, text)?)
}
