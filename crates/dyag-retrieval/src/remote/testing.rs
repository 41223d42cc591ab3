//! What tests of servers share.
