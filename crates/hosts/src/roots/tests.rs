use super::*;
use tempfile::TempDir;

/// Directories with files in them, as a tree of roots.
struct Tree(TempDir);

impl Tree {
    fn new(files: &[(&str, &str)]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = tree.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.0.path().join(path)
    }

    fn root(&self, path: &str, kind: RootKind) -> Root {
        Root { path: self.path(path), kind }
    }
}

fn of(roots: &[Root]) -> Found {
    scan(&Places { roots, tool_dirs: &[], connector_dirs: &[], usual: &BTreeSet::new(), native: &BTreeMap::new() })
}

fn ids(found: &Found) -> Vec<&str> {
    found.folders.iter().map(|folder| folder.id.as_str()).collect()
}

fn reasons(found: &Found) -> Vec<&str> {
    found.problems.iter().map(|(_, reason)| reason.as_str()).collect()
}

#[test]
fn a_folder_counts_when_it_has_a_part() {
    let tree = Tree::new(&[
        ("r/router/router.py", ""),
        ("r/manifest/integration.yaml", ""),
        ("r/tool/tools/a.py", ""),
        ("r/skill/skills/a.md", ""),
        ("r/prompts/prompts/a.md", ""),
        ("r/connector/connector.py", ""),
        ("r/empty/README.md", ""),
        ("r/only_helpers/tools/_helpers.py", ""),
        ("r/_private/router.py", ""),
        ("r/.hidden/router.py", ""),
        ("r/native/mod.rs", ""),
        ("r/native/skills/a.md", ""),
        ("r/file.py", ""),
    ]);
    let found = of(&[tree.root("r", RootKind::Operator)]);
    assert_eq!(ids(&found), ["connector", "manifest", "prompts", "router", "skill", "tool"]);
    assert_eq!(found.problems, []);
}

#[test]
fn a_name_that_cannot_be_is_a_problem_with_a_better_one() {
    let tree = Tree::new(&[("r/my-crm/router.py", "")]);
    let found = of(&[tree.root("r", RootKind::Operator)]);
    assert_eq!(ids(&found), [] as [&str; 0]);
    assert!(reasons(&found)[0].ends_with("call it `my_crm`"), "{:?}", found.problems);
}

#[test]
fn a_later_root_replaces_an_id_and_says_so() {
    let tree = Tree::new(&[
        ("shipped/crm/router.py", ""),
        ("shipped/crm/__init__.py", "version = '1.5'\n"),
        ("mine/crm/router.py", "# mine"),
        ("mine/crm/__init__.py", "version = \"1.2\"\n"),
    ]);
    let found = of(&[tree.root("shipped", RootKind::Shipped), tree.root("mine", RootKind::Operator)]);
    assert_eq!(found.folders[0].path, tree.path("mine/crm"));
    assert_eq!(found.hidden[0].to_string(), "yours 1.2 hides shipped 1.5");
}

#[test]
fn one_equal_to_the_shipped_one_is_no_override() {
    let tree = Tree::new(&[("shipped/crm/router.py", "a"), ("mine/crm/router.py", "a")]);
    let found = of(&[tree.root("shipped", RootKind::Shipped), tree.root("mine", RootKind::Operator)]);
    assert_eq!((found.folders[0].root.kind, found.hidden.len()), (RootKind::Shipped, 0));
}

#[test]
fn one_of_the_program_itself_is_hidden_visibly() {
    let tree = Tree::new(&[("mine/crm/router.py", "")]);
    let roots = [tree.root("mine", RootKind::Operator)];
    let native = BTreeMap::from([("crm".to_owned(), "0.4".to_owned())]);
    let none = BTreeSet::new();
    let found = scan(&Places { roots: &roots, tool_dirs: &[], connector_dirs: &[], usual: &none, native: &native });
    assert_eq!(found.hidden[0].to_string(), "yours hides shipped 0.4");
}

#[test]
fn a_workspace_replaces_nothing() {
    let tree = Tree::new(&[("mine/crm/router.py", ""), ("bots/crm/router.py", ""), ("bots/new/router.py", "")]);
    let found = of(&[tree.root("mine", RootKind::Operator), tree.root("bots", RootKind::Workspace)]);
    assert_eq!(ids(&found), ["crm", "new"]);
    assert_eq!(found.folders[0].root.kind, RootKind::Operator);
    assert_eq!(reasons(&found), ["There is an integration `crm` already: a workspace cannot replace it"]);
}

#[test]
fn a_link_in_the_workspace_is_refused_and_followed_elsewhere() {
    let tree = Tree::new(&[("elsewhere/crm/router.py", ""), ("mine/x/router.py", ""), ("bots/y/router.py", "")]);
    for root in ["mine", "bots"] {
        std::os::unix::fs::symlink(tree.path("elsewhere/crm"), tree.path(root).join(format!("{root}_crm"))).unwrap();
    }
    let found = of(&[tree.root("mine", RootKind::Operator), tree.root("bots", RootKind::Workspace)]);
    assert_eq!(ids(&found), ["mine_crm", "x", "y"]);
    assert!(reasons(&found)[0].contains("cannot be a link"));
}

#[test]
fn roots_that_are_one_directory_count_once() {
    let tree = Tree::new(&[("r/crm/router.py", "")]);
    std::os::unix::fs::symlink(tree.path("r"), tree.path("again")).unwrap();
    let found = of(&[tree.root("r", RootKind::Operator), tree.root("again", RootKind::Operator)]);
    assert_eq!((ids(&found), found.hidden.len()), (vec!["crm"], 0));
}

#[test]
fn a_root_that_is_not_there_is_said() {
    let tree = Tree::new(&[]);
    let found = of(&[tree.root("nowhere", RootKind::Operator)]);
    assert!(reasons(&found)[0].contains("cannot be read"));
}

#[test]
fn that_a_usual_place_is_not_there_is_no_news() {
    let tree = Tree::new(&[]);
    let roots = [tree.root("usual", RootKind::Operator)];
    let (tool_dirs, usual) = ([tree.path("tools")], BTreeSet::from([tree.path("usual"), tree.path("tools")]));
    let native = BTreeMap::new();
    let found =
        scan(&Places { roots: &roots, tool_dirs: &tool_dirs, connector_dirs: &roots, usual: &usual, native: &native });
    assert_eq!(found.problems, []);
}

#[test]
fn connector_modules_of_a_workspace_are_the_workspaces() {
    let tree = Tree::new(&[("bots/scripts/integrations/sly.py", ""), ("elsewhere/far.py", "")]);
    let directory = "bots/scripts/integrations";
    std::os::unix::fs::symlink(tree.path("elsewhere/far.py"), tree.path(directory).join("far.py")).unwrap();
    let found = scan(&Places {
        roots: &[],
        tool_dirs: &[],
        connector_dirs: &[tree.root(directory, RootKind::Workspace)],
        usual: &BTreeSet::new(),
        native: &BTreeMap::new(),
    });
    let kinds: Vec<_> = found.folders.iter().map(|folder| (folder.id.as_str(), folder.root.kind)).collect();
    assert_eq!(kinds, [("sly", RootKind::Workspace)]);
    assert!(reasons(&found)[0].contains("cannot be a link"), "{:?}", found.problems);
}

#[test]
fn bare_tool_files_and_connector_modules_count() {
    let tree = Tree::new(&[
        ("my-tools/a.py", ""),
        ("more/my-tools/b.py", ""),
        ("scripts/integrations/ledger.py", ""),
        ("scripts/integrations/base.py", ""),
        ("scripts/integrations/__init__.py", ""),
        ("scripts/integrations/my_tools.py", ""),
    ]);
    let found = scan(&Places {
        roots: &[],
        tool_dirs: &[tree.path("my-tools"), tree.path("more/my-tools")],
        connector_dirs: &[
            tree.root("scripts/integrations", RootKind::Operator),
            tree.root("no/scripts", RootKind::Operator),
        ],
        usual: &BTreeSet::from([tree.path("no/scripts")]),
        native: &BTreeMap::new(),
    });
    let shapes: Vec<_> = found.folders.iter().map(|folder| (folder.id.as_str(), folder.shape)).collect();
    assert_eq!(shapes, [("my_tools", Shape::Tools), ("my_tools_2", Shape::Tools), ("ledger", Shape::Connector)]);
    assert!(reasons(&found)[0].starts_with("The name `my_tools` is taken by"));
}
