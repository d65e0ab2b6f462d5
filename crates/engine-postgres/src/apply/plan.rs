//! What of a batch the server can show, and what must leave before.

use super::decide::{self, Need, Pair};
use super::error::Refusal;
use super::refused::Found;
use super::rows::{self, Rows, name_of};
use super::session::Join;
use super::{Applier, sql};
use crate::catalog::ForeignKey;
use crate::projection::{Hindrance, Parked};
use meridian_model::RowName;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// What becomes of a batch's rows, by number.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Not to be there, though the tables show them.
    out: BTreeMap<usize, Hindrance>,
    /// To be deleted first, and inserted anew where they are to be there.
    displaced: BTreeSet<usize>,
    /// Deleted by the batch.
    deleted: BTreeSet<usize>,
    /// Not to be there, and can't be: the server has no such key.
    impossible: BTreeSet<usize>,
}

/// What looking at the server shows beside the batch's own rows.
#[derive(Default)]
struct Seen {
    involved: BTreeSet<RowName>,
    displaced: BTreeSet<usize>,
}

impl Plan {
    /// Everything as asked.
    pub(super) fn plain(rows: &Rows) -> Self {
        let lacks = |number: usize| {
            let column = rows.get(number).lacks.clone()?;
            Some((number, Hindrance::Incomplete { column }))
        };
        Self {
            out: (0..rows.len()).filter_map(lacks).collect(),
            deleted: (0..rows.len())
                .filter(|number| rows.get(*number).values.is_none())
                .collect(),
            ..Self::default()
        }
    }

    /// Whether the row is deleted first.
    pub(super) fn leaves(&self, number: usize) -> bool {
        let is_parked = self
            .out
            .get(&number)
            .is_some_and(|hindrance| !matches!(hindrance, Hindrance::Refused { .. }));
        is_parked || self.deleted.contains(&number) || self.displaced.contains(&number)
    }

    /// Whether the row is there in the end as the batch wants it.
    pub(super) fn comes(&self, number: usize) -> bool {
        !self.deleted.contains(&number)
            && !self.out.contains_key(&number)
            && !self.impossible.contains(&number)
    }

    pub(super) fn is_displaced(&self, number: usize) -> bool {
        self.displaced.contains(&number)
    }

    /// Whether a row that was there is written again, perhaps as it was.
    pub(super) fn writes_again(&self) -> bool {
        self.displaced.iter().any(|number| self.comes(*number))
    }

    pub(super) fn parked(&self, rows: &Rows) -> Vec<Parked> {
        self.out
            .iter()
            .map(|(number, hindrance)| Parked {
                row: rows.get(*number).name.clone(),
                hindrance: hindrance.clone(),
            })
            .collect()
    }
}

impl Applier {
    /// Whether rows stay that refer to rows which leave.
    pub(super) async fn leaves_children(
        &mut self,
        rows: &Rows,
        plan: &Plan,
    ) -> Result<bool, Refusal> {
        for (_, child) in self.children_of(rows, &plan.deleted).await? {
            if rows
                .number(&child)
                .is_none_or(|number| !plan.leaves(number))
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// What the server can show of the batch; or the rows that must be in it for that to be known.
    pub(super) async fn plan(
        &mut self,
        rows: &Rows,
        refused: &Found,
    ) -> Result<Result<Plan, Vec<RowName>>, Refusal> {
        let mut plan = Plan::plain(rows);
        for (number, refused) in refused {
            let goes = plan.deleted.remove(number);
            if goes && !refused.stays && !plan.out.contains_key(number) {
                plan.impossible.insert(*number);
            } else {
                let reason = refused.reason.clone();
                plan.out.insert(*number, Hindrance::Refused { reason });
            }
        }
        let mut seen = Seen::default();
        self.decide_rivals(rows, &mut plan, &mut seen).await?;
        if seen.involved.is_empty() {
            self.decide_orphans(rows, &mut plan).await?;
            plan.displaced = std::mem::take(&mut seen.displaced)
                .into_iter()
                .filter(|number| plan.comes(*number))
                .collect();
            self.displace_children(rows, &mut plan, &mut seen).await?;
        }
        if seen.involved.is_empty() {
            Ok(Ok(plan))
        } else {
            Ok(Err(seen.involved.into_iter().collect()))
        }
    }

    async fn decide_rivals(
        &mut self,
        rows: &Rows,
        plan: &mut Plan,
        seen: &mut Seen,
    ) -> Result<(), Refusal> {
        for table in 0..self.tables.len() {
            let mut numbers: Vec<usize> = coming(rows, plan, table);
            if numbers.is_empty() {
                continue;
            }
            let mut pairs = Vec::new();
            for index in self.constraints.indexes(table).to_vec() {
                let shape = &self.tables[table];
                let all = rows.values(&numbers, 0..shape.columns.len());
                let (rivals, twins) = (index.rivals(shape), index.pairs(shape));
                for (number, rival) in self.named(&rivals, &all, &numbers, table).await? {
                    match rows.number(&rival) {
                        None => {
                            seen.involved.insert(rival);
                        }
                        Some(holder) if holder != number => {
                            seen.displaced.insert(holder);
                        }
                        Some(_) => {}
                    }
                }
                for (one, other) in self.pairs(&twins, &all).await? {
                    pairs.push(Pair {
                        one: numbers[one],
                        other: numbers[other],
                        index: index.name.clone(),
                    });
                }
            }
            numbers.sort_by_key(|number| {
                let row = rows.get(*number);
                (Reverse(row.version), row.name.clone())
            });
            for (number, (rival, constraint)) in decide::out(&numbers, &pairs) {
                let rival = rows.get(rival).name.clone();
                plan.out
                    .insert(number, Hindrance::Rival { constraint, rival });
            }
        }
        Ok(())
    }

    async fn decide_orphans(&mut self, rows: &Rows, plan: &mut Plan) -> Result<(), Refusal> {
        let mut needs = Vec::new();
        let mut whose = Vec::new();
        for table in 0..self.tables.len() {
            for number in 0..self.tables[table].references.len() {
                for need in self.needs(rows, plan, table, number).await? {
                    needs.push(need);
                    whose.push((table, number));
                }
            }
        }
        let taken: BTreeSet<usize> = (0..rows.len())
            .filter(|number| plan.comes(*number))
            .collect();
        for (child, need) in decide::orphans(&taken, &needs) {
            let (table, number) = whose[need];
            let hindrance = self.orphaned(rows, child, table, number);
            plan.out.insert(child, hindrance);
        }
        Ok(())
    }

    /// What the batch's rows of a table need by a foreign key.
    async fn needs(
        &mut self,
        rows: &Rows,
        plan: &Plan,
        table: usize,
        number: usize,
    ) -> Result<Vec<Need>, Refusal> {
        let reference = self.tables[table].references[number].clone();
        let mut numbers = coming(rows, plan, table);
        numbers.retain(|row| {
            let values = rows.get(*row).values.as_ref();
            values.is_some_and(|values| reference.columns.iter().all(|own| values[*own].is_some()))
        });
        if numbers.is_empty() {
            return Ok(Vec::new());
        }
        let mut needs: Vec<Need> = numbers
            .iter()
            .map(|child| Need {
                child: *child,
                parents: Vec::new(),
                is_met: false,
            })
            .collect();
        let own = rows.values(&numbers, reference.columns.iter().copied());
        let parent = self.place(&reference);
        let shape = parent.map(|parent| &self.tables[parent]);
        let comparisons = self.constraints.comparisons(table, number).to_vec();
        let text = sql::parents(&self.tables[table], &reference, &comparisons, shape);
        let statement = self.prepared(&text).await?;
        for row in self.client.query(&statement, &rows::params(&own)).await? {
            let found = parent.map(|parent| self.name(&row, parent));
            let inside = found.and_then(|found| rows.number(&found));
            // A row of the batch is what it will be; one that is refused stays what it is.
            if inside.is_none_or(|inside| {
                matches!(plan.out.get(&inside), Some(Hindrance::Refused { .. }))
            }) {
                needs[rows::ordinal(&row)].is_met = true;
            }
        }
        let Some((parent, referred)) =
            parent.and_then(|parent| Some((parent, self.referred(&reference, parent)?)))
        else {
            return Ok(needs);
        };
        let candidates = coming(rows, plan, parent);
        if candidates.is_empty() {
            return Ok(needs);
        }
        let text = sql::batch_parents(
            &self.tables[table],
            &reference,
            &comparisons,
            (&self.tables[parent], &referred),
        );
        let mut both = own;
        both.extend(rows.values(&candidates, referred.iter().copied()));
        for (child, parent) in self.pairs(&text, &both).await? {
            needs[child].parents.push(candidates[parent]);
        }
        Ok(needs)
    }

    fn orphaned(&self, rows: &Rows, child: usize, table: usize, number: usize) -> Hindrance {
        let shape = &self.tables[table];
        let reference = &shape.references[number];
        let parent = self.place(reference).and_then(|place| {
            let parent = &self.tables[place];
            let referred = self.referred(reference, place)?;
            let values = rows.get(child).values.as_ref()?;
            let key: Option<Vec<String>> = parent
                .key
                .iter()
                .map(|key| {
                    let at = referred.iter().position(|column| column == key)?;
                    values[reference.columns[at]].clone()
                })
                .collect();
            Some(name_of(parent, &key?))
        });
        Hindrance::Orphan {
            constraint: reference.name.clone(),
            table: reference.parent.to_string(),
            parent,
            holds_values: !self.constraints.indexes(table).is_empty(),
        }
    }

    /// Rows that refer to rows which leave must leave before them, and may come back.
    async fn displace_children(
        &mut self,
        rows: &Rows,
        plan: &mut Plan,
        seen: &mut Seen,
    ) -> Result<(), Refusal> {
        let mut leaving: BTreeSet<usize> = (0..rows.len())
            .filter(|number| plan.leaves(*number))
            .collect();
        while !leaving.is_empty() {
            let mut next = BTreeSet::new();
            for (_, child) in self.children_of(rows, &leaving).await? {
                match rows.number(&child) {
                    None => {
                        seen.involved.insert(child);
                    }
                    Some(number) if !plan.leaves(number) => {
                        next.insert(number);
                    }
                    Some(_) => {}
                }
            }
            plan.displaced.extend(&next);
            leaving = next;
        }
        Ok(())
    }

    /// The server's rows that refer to these.
    async fn children_of(
        &mut self,
        rows: &Rows,
        leaving: &BTreeSet<usize>,
    ) -> Result<Vec<(usize, RowName)>, Refusal> {
        let mut found = Vec::new();
        for table in 0..self.tables.len() {
            let children = self.constraints.children(table).to_vec();
            if children.is_empty() {
                continue;
            }
            let numbers: Vec<usize> = rows
                .of_table(table)
                .iter()
                .copied()
                .filter(|number| leaving.contains(number))
                .collect();
            if numbers.is_empty() {
                continue;
            }
            let keys = rows.keys(&numbers);
            for (child, number) in children {
                let shape = &self.tables[child];
                let comparisons = self.constraints.comparisons(child, number);
                let reference = &shape.references[number];
                let text = sql::children(&self.tables[table], shape, reference, comparisons);
                self.join_by(Join::Any).await?;
                found.extend(self.named(&text, &keys, &numbers, child).await?);
                self.join_by(Join::Index).await?;
            }
        }
        Ok(found)
    }

    /// Asks for ordinals and keys of a table.
    async fn named(
        &mut self,
        text: &str,
        columns: &rows::Columns<'_>,
        numbers: &[usize],
        table: usize,
    ) -> Result<Vec<(usize, RowName)>, Refusal> {
        let statement = self.prepared(text).await?;
        let answer = self
            .client
            .query(&statement, &rows::params(columns))
            .await?;
        Ok(answer
            .iter()
            .map(|row| (numbers[rows::ordinal(row)], self.name(row, table)))
            .collect())
    }

    /// Asks for pairs of ordinals.
    async fn pairs(
        &mut self,
        text: &str,
        columns: &rows::Columns<'_>,
    ) -> Result<Vec<(usize, usize)>, Refusal> {
        self.join_by(Join::Hash).await?;
        let statement = self.prepared(text).await?;
        let answer = self
            .client
            .query(&statement, &rows::params(columns))
            .await?;
        self.join_by(Join::Index).await?;
        let place = |row: &tokio_postgres::Row, field| {
            let ordinal: i64 = row.get(field);
            usize::try_from(ordinal - 1).expect("ordinals begin at 1")
        };
        Ok(answer
            .iter()
            .map(|row| (place(row, 0), place(row, 1)))
            .collect())
    }

    /// The row of a table that an answer names after its ordinal.
    fn name(&self, row: &tokio_postgres::Row, table: usize) -> RowName {
        let shape = &self.tables[table];
        let key: Vec<String> = (0..shape.key.len())
            .map(|place| row.get(place + 1))
            .collect();
        name_of(shape, &key)
    }

    fn place(&self, reference: &ForeignKey) -> Option<usize> {
        self.tables
            .iter()
            .position(|table| table.name == reference.parent)
    }

    /// The columns referred to, as places in the parent's columns.
    fn referred(&self, reference: &ForeignKey, parent: usize) -> Option<Vec<usize>> {
        let columns = &self.tables[parent].columns;
        reference
            .parent_columns
            .iter()
            .map(|name| columns.iter().position(|column| column.name == *name))
            .collect()
    }
}

/// The batch's rows of a table that are to be there.
fn coming(rows: &Rows, plan: &Plan, table: usize) -> Vec<usize> {
    rows.of_table(table)
        .iter()
        .copied()
        .filter(|number| plan.comes(*number))
        .collect()
}
