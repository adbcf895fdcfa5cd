//! The integration of `docs/writing-an-integration/native.md`, compiled and tested as it stands there.

mod board;
