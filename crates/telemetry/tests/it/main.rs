<<<<<<< HEAD
//! Tests of the crate as its users see it.

mod node;
=======
//! Tests of collection: beside the real parser, rules of relabelling and remote-write client
//! (`tests/peers/prometheus`), and properties of what reads foreign bytes.

mod peer;
mod scraped;
mod textparse;
>>>>>>> 4421786 (What targets send is read: text, OpenMetrics, protobuf and both remote-write messages, beside the real parsers over random and damaged bodies)
