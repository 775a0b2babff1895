//! The job graph: file jobs to status rows, matrix cells as `id.N`, what each row means.

use super::contexts::{self, Facts};
use crate::expr::{Scope, Status, Value, condition, interpolate, value_of};
use crate::matrix::{Cell, cell_name, expand};
use crate::workflow::{Job, Workflow};
use serde_json::{Map, Value as Json, json};
use towpath_kit::kinds::{JobStatus, Phase, StepStatus};

/// Most rows of one run.
pub const LIMIT_ROWS: usize = 1000;

/// `id.N` to `id` and `N`; a row that is no cell has no number.
pub fn split_id(row: &str) -> (&str, Option<usize>) {
    match row
        .rsplit_once('.')
        .and_then(|(id, n)| n.parse().ok().map(|n| (id, n)))
    {
        Some((id, n)) => (id, Some(n)),
        None => (row, None),
    }
}

/// Rows of a job.
pub fn rows<'s>(status: &'s [JobStatus], id: &str) -> Vec<&'s JobStatus> {
    status
        .iter()
        .filter(|row| split_id(&row.id).0 == id)
        .collect()
}

/// Row of a job before anything is known of it.
pub fn row(job: &Job) -> JobStatus {
    JobStatus {
        id: job.id.clone(),
        name: job
            .name
            .clone()
            .filter(|n| !n.contains("${{"))
            .unwrap_or_else(|| job.id.clone()),
        needs: job.needs.clone(),
        steps: steps(job),
        ..JobStatus::default()
    }
}

fn steps(job: &Job) -> Vec<StepStatus> {
    let step = |(i, s): (usize, &crate::workflow::Step)| StepStatus {
        number: i as u32 + 1,
        name: s.title(),
        ..StepStatus::default()
    };
    job.steps.iter().enumerate().map(step).collect()
}

/// What the rows of a run's status mean together with its workflow.
pub struct Graph<'a> {
    /// Facts.
    pub facts: &'a Facts,
    /// Workflow.
    pub workflow: &'a Workflow,
    /// Rows.
    pub rows: &'a [JobStatus],
    /// Whether someone asked for the run to end.
    pub cancelled: bool,
}

/// A job with its cell, ready to be evaluated.
pub struct Placed<'a> {
    /// Job.
    pub job: &'a Job,
    /// Its contexts: `github`, `needs`, `strategy`, `matrix`, `inputs`, `vars`.
    pub contexts: Map<String, Json>,
}

impl<'a> Graph<'a> {
    /// Job of a row.
    pub fn job(&self, row: &str) -> Option<&'a Job> {
        self.workflow.job(split_id(row).0)
    }

    /// Contexts `github`, `needs`, `inputs`, `vars` of a job.
    pub fn base(&self, job: &Job) -> Map<String, Json> {
        let mut contexts = self.facts.root();
        if let Some(Json::Object(github)) = contexts.get_mut("github") {
            github.insert("job".into(), json!(job.id));
        }
        let needs: Map<String, Json> = job
            .needs
            .iter()
            .map(|need| {
                let cells: Vec<(&JobStatus, bool)> = rows(self.rows, need)
                    .into_iter()
                    .map(|r| (r, self.forgiven(&r.id)))
                    .collect();
                (need.clone(), contexts::need(&cells))
            })
            .collect();
        contexts.insert("needs".into(), Json::Object(needs));
        contexts
    }

    /// Whether all jobs that this one needs have ended.
    pub fn waits_for(&self, job: &Job) -> Vec<String> {
        let open = |need: &&String| rows(self.rows, need).iter().any(|r| !r.phase.is_final());
        job.needs.iter().filter(open).cloned().collect()
    }

    /// How all that a job needs, directly and through others, has ended.
    pub fn status(&self, job: &Job) -> Status {
        let mut status = Status {
            cancelled: self.cancelled,
            ..Status::default()
        };
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&str> = job.needs.iter().map(String::as_str).collect();
        while let Some(id) = open.pop() {
            if seen.contains(&id) {
                continue;
            }
            seen.push(id);
            for row in rows(self.rows, id) {
                status.failed |= row.phase == Phase::Failed && !self.forgiven(&row.id);
                status.incomplete |= matches!(row.phase, Phase::Skipped | Phase::Cancelled);
            }
            open.extend(
                self.workflow
                    .job(id)
                    .into_iter()
                    .flat_map(|j| j.needs.iter().map(String::as_str)),
            );
        }
        status
    }

    /// Whether a job's `if:` lets it run.
    pub fn wanted(&self, job: &Job) -> Result<bool, String> {
        let contexts = contexts::value(self.base(job));
        let scope = Scope::new(&contexts, self.status(job));
        condition(job.condition.as_deref().unwrap_or(""), &scope).map_err(|e| format!("if: {e}"))
    }

    /// Cells of a job's matrix; one empty cell where it has none.
    pub fn cells(&self, job: &Job) -> Result<Vec<Cell>, String> {
        let Some(strategy) = job.strategy.as_ref().filter(|s| !s.matrix.is_null()) else {
            return Ok(vec![Cell::new()]);
        };
        let contexts = contexts::value(self.base(job));
        let scope = Scope::new(&contexts, Status::default());
        match &strategy.matrix {
            Json::String(text) => {
                let matrix = value_of(text, &scope).map_err(|e| format!("matrix: {e}"))?;
                expand(&matrix.to_json(), &scope)
            }
            matrix => expand(matrix, &scope),
        }
    }

    /// Whether a job has a matrix.
    pub fn has_matrix(job: &Job) -> bool {
        job.strategy.as_ref().is_some_and(|s| !s.matrix.is_null())
    }

    /// Rows of a job whose needs have ended: one per cell.
    pub fn expanded(&self, job: &Job) -> Result<Vec<JobStatus>, String> {
        let cells = self.cells(job)?;
        let many = Self::has_matrix(job);
        cells
            .iter()
            .enumerate()
            .map(|(number, cell)| {
                let id = if many {
                    format!("{}.{number}", job.id)
                } else {
                    job.id.clone()
                };
                let placed = self.place(job, number, &cells);
                let name = match &job.name {
                    Some(name) => placed.text(name).map_err(|e| format!("name: {e}"))?,
                    None => cell_name(&job.id, cell),
                };
                Ok(JobStatus {
                    id,
                    name,
                    ..row(job)
                })
            })
            .collect()
    }

    fn place(&self, job: &'a Job, number: usize, cells: &[Cell]) -> Placed<'a> {
        let mut contexts = self.base(job);
        let flag = |text: Option<&String>, default: bool| {
            let value = Value::from_json(&Json::Object(self.base(job)));
            let scope = Scope::new(&value, Status::default());
            text.map_or(default, |t| {
                interpolate(t, &scope).map_or(default, |t| t.trim() == "true")
            })
        };
        let strategy = job.strategy.as_ref();
        let fail_fast = flag(strategy.and_then(|s| s.fail_fast.as_ref()), true);
        contexts.insert(
            "strategy".into(),
            json!({"fail-fast": fail_fast, "job-index": number, "job-total": cells.len(),
                   "max-parallel": self.max_parallel(job).unwrap_or(cells.len())}),
        );
        let cell = if Self::has_matrix(job) {
            cells.get(number).cloned().map_or(Json::Null, Json::Object)
        } else {
            Json::Null
        };
        contexts.insert("matrix".into(), cell);
        Placed { job, contexts }
    }

    /// A row with its contexts.
    pub fn placed(&self, row: &str) -> Result<Placed<'a>, String> {
        let job = self
            .job(row)
            .ok_or_else(|| format!("job {row} is not in the workflow"))?;
        let cells = self.cells(job)?;
        Ok(self.place(job, split_id(row).1.unwrap_or(0), &cells))
    }

    /// Whether a failed row does not count (`continue-on-error`).
    pub fn forgiven(&self, row: &str) -> bool {
        let Some(job) = self.job(row) else {
            return false;
        };
        let Some(text) = &job.continue_on_error else {
            return false;
        };
        if let Some(plain) = match text.trim() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        } {
            return plain;
        }
        self.placed(row)
            .and_then(|p| p.text(text))
            .is_ok_and(|t| t.trim() == "true")
    }

    /// Whether a failed cell ends its siblings.
    pub fn fail_fast(&self, job: &Job) -> bool {
        let Some(text) = job.strategy.as_ref().and_then(|s| s.fail_fast.as_ref()) else {
            return true;
        };
        let contexts = contexts::value(self.base(job));
        interpolate(text, &Scope::new(&contexts, Status::default()))
            .map_or(true, |t| t.trim() != "false")
    }

    /// How many cells may run at a time.
    pub fn max_parallel(&self, job: &Job) -> Option<usize> {
        let text = job.strategy.as_ref()?.max_parallel.as_ref()?;
        let contexts = contexts::value(self.base(job));
        let number = value_of(text, &Scope::new(&contexts, Status::default()))
            .ok()?
            .to_number();
        (number >= 1.0).then_some(number as usize)
    }
}

impl Placed<'_> {
    /// A text of the job, evaluated.
    pub fn text(&self, text: &str) -> Result<String, String> {
        let contexts = contexts::value(self.contexts.clone());
        interpolate(text, &Scope::new(&contexts, Status::default()))
    }

    /// A number of the job, evaluated.
    pub fn number(&self, text: Option<&String>, default: f64, name: &str) -> Result<f64, String> {
        let Some(text) = text else { return Ok(default) };
        let contexts = contexts::value(self.contexts.clone());
        let value = value_of(text, &Scope::new(&contexts, Status::default()))
            .map_err(|e| format!("{name}: {e}"))?;
        let number = value.to_number();
        if number.is_finite() && number > 0.0 {
            Ok(number)
        } else {
            Err(format!("{name} is not a number above 0"))
        }
    }

    /// `runs-on` labels, evaluated; one expression may yield a list.
    pub fn runs_on(&self) -> Result<Vec<String>, String> {
        let contexts = contexts::value(self.contexts.clone());
        let scope = Scope::new(&contexts, Status::default());
        let mut labels = Vec::new();
        for text in &self.job.runs_on {
            match value_of(text, &scope).map_err(|e| format!("runs-on: {e}"))? {
                Value::Array(items) => labels.extend(items.iter().map(Value::to_text)),
                other => labels.push(other.to_text()),
            }
        }
        Ok(labels)
    }
}
