//! Several nodes, clients and everything that can befall them, by seeds, on the log in memory and under a simulated clock.
//!
//! `world` says what happens, `ports` and `network` how it fails, `client` what is asked; `check` and `model` say what must hold afterwards;
//! `rules` asks the same of one site without its world; `mutations` plants bugs that must be found.

#[path = "simulation/ask.rs"]
mod ask;
#[path = "simulation/chance.rs"]
mod chance;
#[path = "simulation/check.rs"]
mod check;
#[path = "simulation/client.rs"]
mod client;
#[path = "simulation/dock.rs"]
mod dock;
#[path = "simulation/model.rs"]
mod model;
#[path = "simulation/mutations.rs"]
mod mutations;
#[path = "simulation/network.rs"]
mod network;
#[path = "simulation/node.rs"]
mod node;
#[path = "simulation/plan.rs"]
mod plan;
#[path = "simulation/ports.rs"]
mod ports;
#[path = "simulation/process.rs"]
mod process;
#[path = "simulation/projector.rs"]
mod projector;
#[path = "simulation/rules.rs"]
mod rules;
#[path = "simulation/seeds.rs"]
mod seeds;
#[path = "simulation/shelf.rs"]
mod shelf;
#[path = "simulation/world.rs"]
mod world;
