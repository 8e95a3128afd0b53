//! Where values come from, in layers: defaults < file < environment < `--set`.
//!
//! The layers are sources of the `config` crate, which lays one over the other and keeps each
//! value's origin. Kafka's keys are flat names that happen to hold dots (`log.flush` stands beside
//! `log.flush.interval.ms`), so the sources store them as they are and not as paths into tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use config::{FileFormat, FileStoredFormat, Format, Map, Source, Value, ValueKind};

use super::error::{ConfigError, Warning};
use super::properties;

/// Environment variables that begin like a key's and are the command line's own.
const NO_KEYS: &[&str] = &["KRAFT_LOG", "KRAFT_DIR", "KRAFT_CONFIG", "KRAFT_OUTPUT"];

/// Prefixes of variables that are no keys either.
const NO_KEY_PREFIXES: &[&str] = &["KRAFT_BOOTSTRAP_", "KRAFT_TEST_"];

/// Everything that can say something about a node's configuration.
#[derive(Clone, Default, Debug)]
pub struct Sources {
    /// `*.toml` is TOML, where a dotted key and nested tables are the same; anything else is
    /// Kafka's properties syntax.
    pub file: Option<PathBuf>,
    /// `KRAFT_NODE_ID` is `node.id`: `_` stands for a dot, `__` for an underscore, `___` for a
    /// dash. Variables of another beginning are left alone.
    pub environment: Vec<(String, String)>,
    /// `key=value`, from the command line.
    pub set: Vec<String>,
}

impl Sources {
    /// The file and the process's own environment.
    pub fn of_process(file: Option<PathBuf>, set: Vec<String>) -> Sources {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Sources { file, environment, set }
    }
}

/// A value and where it was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Given {
    pub value: String,
    pub origin: String,
}

/// One layer's values by key.
type Layer = BTreeMap<String, Given>;

/// The upper-most value of each key that was given at all.
pub(super) fn collect(
    sources: &Sources,
    errors: &mut Vec<ConfigError>,
    warnings: &mut Vec<Warning>,
) -> Layer {
    let mut layers = Vec::new();
    if let Some(path) = &sources.file {
        match file_layer(path, warnings) {
            Ok(layer) => layers.push(layer),
            Err(error) => errors.push(error),
        }
    }
    layers.push(environment_layer(&sources.environment));
    layers.push(set_layer(&sources.set, errors));
    let builder = layers
        .into_iter()
        .fold(config::Config::builder(), |builder, layer| builder.add_source(FlatLayer(layer)));
    match builder.build() {
        Ok(config) => flat(config.cache, ""),
        Err(error) => {
            errors.push(ConfigError::Syntax {
                origin: "configuration".to_owned(),
                problem: error.to_string(),
            });
            Layer::new()
        }
    }
}

/// A layer in the `config` crate's terms.
#[derive(Clone, Debug)]
struct FlatLayer(Layer);

impl Source for FlatLayer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, config::ConfigError> {
        let value = |given: &Given| Value::new(Some(&given.origin), given.value.clone());
        Ok(self.0.iter().map(|(key, given)| (key.clone(), value(given))).collect())
    }

    /// Puts every key in as it is; the provided method would take the dots for a path.
    fn collect_to(&self, cache: &mut Value) -> Result<(), config::ConfigError> {
        if let ValueKind::Table(table) = &mut cache.kind {
            table.extend(self.collect()?);
        }
        Ok(())
    }
}

fn file_layer(path: &Path, warnings: &mut Vec<Warning>) -> Result<Layer, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let name = path.display().to_string();
    let toml = FileFormat::Toml;
    if path.extension().is_some_and(|e| toml.file_extensions().iter().any(|&known| e == known)) {
        let table = toml.parse(Some(&name), &text).map_err(|error| ConfigError::Syntax {
            origin: name.clone(),
            problem: error.to_string(),
        })?;
        return Ok(flat(Value::new(Some(&name), table), ""));
    }
    let mut layer = Layer::new();
    let parsed = properties::parse(&text).map_err(|(line, problem)| ConfigError::Syntax {
        origin: format!("{name}:{line}"),
        problem,
    })?;
    for property in parsed {
        let origin = format!("{name}:{}", property.line);
        let given = Given { value: property.value, origin: origin.clone() };
        if let Some(earlier) = layer.insert(property.key.clone(), given) {
            let message = format!("given before at {}; this one counts", earlier.origin);
            warnings.push(Warning { key: property.key, origin, message });
        }
    }
    Ok(layer)
}

/// Flattens nested tables into dotted keys; a list becomes Kafka's comma-separated form.
fn flat(value: Value, name: &str) -> Layer {
    let origin = value.origin().unwrap_or("default").to_owned();
    match value.kind {
        ValueKind::Table(table) => table
            .into_iter()
            .flat_map(|(key, value)| {
                flat(value, &if name.is_empty() { key } else { format!("{name}.{key}") })
            })
            .collect(),
        ValueKind::Array(items) => {
            let items: Vec<String> = items.iter().map(Value::to_string).collect();
            Layer::from([(name.to_owned(), Given { value: items.join(","), origin })])
        }
        kind => Layer::from([(name.to_owned(), Given { value: kind.to_string(), origin })]),
    }
}

fn environment_layer(environment: &[(String, String)]) -> Layer {
    let is_key = |name: &str| {
        !NO_KEYS.contains(&name) && !NO_KEY_PREFIXES.iter().any(|p| name.starts_with(p))
    };
    environment
        .iter()
        .filter(|(name, _)| is_key(name))
        .filter_map(|(name, value)| {
            let origin = format!("environment variable {name}");
            let key = key_of_variable(name.strip_prefix("KRAFT_")?);
            Some((key, Given { value: value.clone(), origin }))
        })
        .collect()
}

fn key_of_variable(name: &str) -> String {
    name.to_ascii_lowercase()
        .replace("___", "-")
        .replace("__", "\0")
        .replace('_', ".")
        .replace('\0', "_")
}

fn set_layer(set: &[String], errors: &mut Vec<ConfigError>) -> Layer {
    let mut layer = Layer::new();
    for argument in set {
        let origin = format!("--set {argument}");
        match argument.split_once('=').filter(|(key, _)| !key.trim().is_empty()) {
            Some((key, value)) => {
                let value = value.trim().to_owned();
                layer.insert(key.trim().to_owned(), Given { value, origin });
            }
            None => errors
                .push(ConfigError::Syntax { origin, problem: "expected key=value".to_owned() }),
        }
    }
    layer
}
