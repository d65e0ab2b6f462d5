//! placeholder while the real one is written
#![allow(missing_docs)]
#[derive(utoipa::ToSchema, serde::Serialize)]
pub struct Problem { pub title: String }
#[derive(utoipa::IntoResponses)] #[response(status = 400)] pub struct RowProblems;
#[derive(utoipa::IntoResponses)] #[response(status = 400)] pub struct WriteProblems;
#[derive(utoipa::IntoResponses)] #[response(status = 400)] pub struct ReadProblems;
#[derive(utoipa::IntoResponses)] #[response(status = 400)] pub struct ServerProblems;
pub fn openapi() -> String { String::new() }
