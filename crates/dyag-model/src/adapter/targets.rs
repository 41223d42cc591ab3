//! Which matrices of a model an adapter acts on, and with what rank and scale: PEFT's rules of matching, on the names of a Transformers model.

use std::collections::BTreeMap;

use fancy_regex::Regex;

use super::config::{AdapterConfig, TargetModules};
use super::error::AdapterError;
use super::{Projection, Site};
use crate::config::DecoderConfig;

/// Rank and scale of one adapted matrix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SiteSettings {
    /// R.
    pub rank: usize,
    /// What `(x Aᵀ) Bᵀ` is multiplied with.
    pub scale: f32,
}

impl AdapterConfig {
    /// The matrices of a model of that shape that this configuration adapts.
    ///
    /// A name of `target_modules` that the model does not have is passed over, as PEFT does, as long as another one is there.
    ///
    /// # Errors
    /// When nothing is adapted, something is that cannot be, or a pattern is no regular expression.
    pub fn sites(&self, config: &DecoderConfig) -> Result<BTreeMap<Site, SiteSettings>, AdapterError> {
        let matcher = Matcher::new(self)?;
        let ranks = compile_patterns("rank_pattern", &self.rank_pattern)?;
        let alphas = compile_patterns("alpha_pattern", &self.alpha_pattern)?;
        let mut sites = BTreeMap::new();
        for layer in 0..config.n_layers {
            for &projection in Projection::all(config) {
                let site = Site { layer, projection };
                let module = site.module();
                if !matcher.adapts(&module, true)? {
                    continue;
                }
                let rank = first_match("rank_pattern", &ranks, &module)?.unwrap_or(self.rank);
                let alpha = first_match("alpha_pattern", &alphas, &module)?.unwrap_or(self.alpha);
                sites.insert(site, SiteSettings { rank, scale: self.scale(rank, alpha) });
            }
        }
        for module in other_modules(config) {
            if matcher.adapts(&module, false)? {
                return Err(AdapterError::ForeignTarget { module, known: known_names(config) });
            }
        }
        if sites.is_empty() {
            let what = format!("target_modules is {}", matcher.describe());
            return Err(AdapterError::NoTarget { family: config.family.clone(), what, known: known_names(config) });
        }
        Ok(sites)
    }

    /// Refuses keys of `rank_pattern` and `alpha_pattern` that match no matrix adapted. PEFT passes over them; who types one means something.
    ///
    /// # Errors
    /// As [`AdapterConfig::sites`], and when a key matches nothing.
    pub fn check_patterns(&self, config: &DecoderConfig) -> Result<(), AdapterError> {
        let modules: Vec<String> = self.sites(config)?.into_keys().map(Site::module).collect();
        let ranks = self.rank_pattern.iter().map(|(key, _)| ("rank_pattern", key));
        for (place, key) in ranks.chain(self.alpha_pattern.iter().map(|(key, _)| ("alpha_pattern", key))) {
            let compiled = compile_patterns(place, &[(key.clone(), ())])?;
            let mut any = false;
            for module in &modules {
                any |= first_match(place, &compiled, module)?.is_some();
            }
            if !any {
                let example = modules.first().cloned().unwrap_or_default();
                return Err(AdapterError::PatternOfNothing { place: place.to_owned(), pattern: key.clone(), example });
            }
        }
        Ok(())
    }

    #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation)]
    fn scale(&self, rank: usize, alpha: f64) -> f32 {
        let rank = rank as f64;
        (alpha / if self.rank_stabilised { rank.sqrt() } else { rank }) as f32
    }
}

/// Reads `--target-modules` as a user types it: `all-linear`, or names with commas between.
///
/// # Errors
/// When a name is none of the model's, or there is none. A model that fuses q, k and v (or gate and up) has no `q_proj`: the error says what it has.
pub fn parse_targets(text: &str, config: &DecoderConfig) -> Result<Vec<Projection>, AdapterError> {
    let all = Projection::all(config);
    if text.trim().eq_ignore_ascii_case("all-linear") {
        return Ok(all.to_vec());
    }
    let mut chosen = Vec::new();
    for name in text.split(',').map(str::trim) {
        let projection = all.iter().copied().find(|p| p.short_name() == name || p.module() == name);
        chosen.push(projection.ok_or_else(|| unknown_target(name, config))?);
    }
    chosen.sort();
    chosen.dedup();
    Ok(chosen)
}

impl TargetModules {
    /// Reads `--target-modules` as a user types it: `all-linear`; names with commas between, each the end of a module's name (`q_proj`, `layers.1.mlp.up_proj`); or, where there is a
    /// character that no name has (one of `\ ^ $ * + ? ( ) [ ] { } |`), a regular expression for whole names of modules.
    ///
    /// # Errors
    /// When a name is none of the model's, there is none, or the expression is none.
    pub fn parse(text: &str, config: &DecoderConfig) -> Result<Self, AdapterError> {
        if text.contains(|c: char| r"\^$*+?()[]{}|".contains(c)) {
            let pattern = Self::Pattern(text.to_owned());
            Filter::new("target_modules", &pattern)?;
            return Ok(pattern);
        }
        if text.trim().eq_ignore_ascii_case("all-linear") {
            return Ok(Self::Names(sorted(Projection::all(config).iter().map(|p| p.short_name().to_owned()))));
        }
        let modules: Vec<String> = (0..config.n_layers)
            .flat_map(|layer| Projection::all(config).iter().map(move |&projection| Site { layer, projection }.module()))
            .collect();
        let mut names = Vec::new();
        for name in text.split(',').map(str::trim) {
            if name.is_empty() || !modules.iter().any(|module| is_suffix(name, module)) {
                return Err(unknown_target(name, config));
            }
            names.push(name.to_owned());
        }
        Ok(Self::Names(sorted(names.into_iter())))
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort();
    names.dedup();
    names
}

fn unknown_target(name: &str, config: &DecoderConfig) -> AdapterError {
    let fused = match name.rsplit('.').next().unwrap_or(name) {
        "q_proj" | "k_proj" | "v_proj" if config.fused => "its q, k and v are one matrix, qkv_proj; ",
        "gate_proj" | "up_proj" if config.fused => "its gate and up are one matrix, gate_up_proj; ",
        "qkv_proj" if !config.fused => "its q, k and v are apart, q_proj, k_proj, v_proj; ",
        "gate_up_proj" if !config.fused => "its gate and up are apart, gate_proj, up_proj; ",
        _ => "",
    };
    let advice = format!("{fused}expected all-linear, or some of {} with commas between", known_names(config));
    AdapterError::UnknownTarget { name: name.to_owned(), family: config.family.clone(), advice }
}

fn known_names(config: &DecoderConfig) -> String {
    Projection::all(config).iter().map(|p| p.short_name()).collect::<Vec<_>>().join(", ")
}

/// Modules of a Transformers model that are no adaptable projection. PEFT refuses to adapt most of them; the embedding and the head it would.
fn other_modules(config: &DecoderConfig) -> Vec<String> {
    let mut names: Vec<_> =
        ["lm_head", "model.embed_tokens", "model.norm", "model.rotary_emb", "model.layers", "model"].map(str::to_owned).to_vec();
    let inside = ["input_layernorm", "post_attention_layernorm", "self_attn", "mlp", "mlp.act_fn", "mlp.activation_fn"];
    for layer in 0..config.n_layers {
        names.push(format!("model.layers.{layer}"));
        names.extend(inside.iter().map(|name| format!("model.layers.{layer}.{name}")));
    }
    names
}

/// A compiled `target_modules`, with `exclude_modules` and `layers_to_transform`.
struct Matcher<'a> {
    targets: Filter<'a>,
    excluded: Option<Filter<'a>>,
    layers: Option<&'a [usize]>,
    /// Expressions whose first group is the layer's number.
    layer_numbers: Vec<Regex>,
}

enum Filter<'a> {
    Names(&'a [String]),
    Pattern(&'a str, Regex),
    AllLinear,
}

impl<'a> Matcher<'a> {
    fn new(config: &'a AdapterConfig) -> Result<Self, AdapterError> {
        let layer_numbers = if config.layers_pattern.is_empty() {
            vec![compile("layers_pattern", "", r"\A.*?\.[^.]*\.(\d+)\.")?]
        } else {
            let number = |name: &String| compile("layers_pattern", name, &format!(r"\A(?:^|.*?\.){name}\.(?P<dyag_layer>\d+)\."));
            config.layers_pattern.iter().map(number).collect::<Result<_, _>>()?
        };
        Ok(Self {
            targets: Filter::new("target_modules", &config.targets)?,
            excluded: config.excluded.as_ref().map(|e| Filter::new("exclude_modules", e)).transpose()?,
            layers: config.layers.as_deref(),
            layer_numbers,
        })
    }

    /// Whether the configuration adapts the module; `linear` says whether "all-linear" means it.
    fn adapts(&self, module: &str, linear: bool) -> Result<bool, AdapterError> {
        if let Some(excluded) = &self.excluded
            && excluded.matches("exclude_modules", module, linear)?
        {
            return Ok(false);
        }
        if !self.targets.matches("target_modules", module, linear)? {
            return Ok(false);
        }
        // A module named in full is adapted whatever its layer.
        match (&self.targets, self.layers) {
            (Filter::Names(names), Some(layers)) if !names.iter().any(|name| name == module) => {
                Ok(self.layer_number(module)?.is_some_and(|layer| layers.contains(&layer)))
            }
            _ => Ok(true),
        }
    }

    fn layer_number(&self, module: &str) -> Result<Option<usize>, AdapterError> {
        for regex in &self.layer_numbers {
            let captures = regex.captures(module).map_err(|e| pattern_error("layers_pattern", regex.as_str(), &e))?;
            if let Some(captures) = captures {
                let group = captures.name("dyag_layer").or_else(|| captures.get(1));
                return Ok(group.and_then(|digits| digits.as_str().parse().ok()));
            }
        }
        Ok(None)
    }

    fn describe(&self) -> String {
        match &self.targets {
            Filter::Names(names) => format!("[{}]", names.join(", ")),
            Filter::Pattern(pattern, _) => {
                format!(
                    "{pattern:?} (a string is a regular expression that must match the whole name, such as model.layers.0.self_attn.q_proj)"
                )
            }
            Filter::AllLinear => "all-linear".to_owned(),
        }
    }
}

impl<'a> Filter<'a> {
    fn new(key: &str, modules: &'a TargetModules) -> Result<Self, AdapterError> {
        Ok(match modules {
            TargetModules::Names(names) => Self::Names(names),
            TargetModules::Pattern(pattern) => Self::Pattern(pattern, compile(key, pattern, &format!(r"\A(?:{pattern})\z"))?),
            TargetModules::AllLinear => Self::AllLinear,
        })
    }

    fn matches(&self, key: &str, module: &str, linear: bool) -> Result<bool, AdapterError> {
        match self {
            Self::Names(names) => Ok(names.iter().any(|name| is_suffix(name, module))),
            Self::Pattern(pattern, regex) => regex.is_match(module).map_err(|e| pattern_error(key, pattern, &e)),
            Self::AllLinear => Ok(linear),
        }
    }
}

/// Whether `module` is `name`, or ends with a dot and `name`.
fn is_suffix(name: &str, module: &str) -> bool {
    module.strip_suffix(name).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Keys of `rank_pattern` or `alpha_pattern`: each must match the end of a module's name, from its start or from after a dot.
fn compile_patterns<T: Copy>(place: &str, pairs: &[(String, T)]) -> Result<Vec<(Regex, T)>, AdapterError> {
    pairs.iter().map(|(key, value)| Ok((compile(place, key, &format!(r"\A(?:.*\.)?(?:{key})\z"))?, *value))).collect()
}

fn first_match<T: Copy>(place: &str, patterns: &[(Regex, T)], module: &str) -> Result<Option<T>, AdapterError> {
    for (regex, value) in patterns {
        if regex.is_match(module).map_err(|e| pattern_error(place, regex.as_str(), &e))? {
            return Ok(Some(*value));
        }
    }
    Ok(None)
}

fn compile(place: &str, pattern: &str, full: &str) -> Result<Regex, AdapterError> {
    Regex::new(full).map_err(|error| pattern_error(place, pattern, &error))
}

fn pattern_error(place: &str, pattern: &str, error: &fancy_regex::Error) -> AdapterError {
    AdapterError::Pattern { place: place.to_owned(), pattern: pattern.to_owned(), reason: error.to_string() }
}
