//! A pasteuriser that speaks real Modbus TCP, on the loopback only, with faults on a switch.

pub mod physics;
pub mod registers;

use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_modbus::server::Service;
use tokio_modbus::server::tcp::{Server, accept_tcp_connection};
use tokio_modbus::{ExceptionCode, Request, Response};
use tokio_util::sync::CancellationToken;

use self::physics::Pasteuriser;
use self::registers::Image;

const TICK: Duration = Duration::from_millis(50);
const REBIND: Duration = Duration::from_millis(200);

/// What is wrong with the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// The temperature sensor shows for ever what it showed last.
    pub frozen_temperature: bool,
    /// Nobody can connect, and who was connected no longer is.
    pub dropped_link: bool,
}

/// The machine and its server.
pub struct Plant {
    address: SocketAddr,
    listener: TcpListener,
    machine: Pasteuriser,
    faults: watch::Sender<Faults>,
}

impl Plant {
    /// Binds a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The system's.
    pub async fn bind(seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        Ok(Self { address, listener, machine: Pasteuriser::new(seed), faults: watch::Sender::default() })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The fault switch.
    pub fn faults(&self) -> watch::Sender<Faults> {
        self.faults.clone()
    }

    /// Runs until `stop`.
    ///
    /// # Errors
    /// The port is taken by somebody else after a dropped link.
    pub async fn run(self, stop: CancellationToken) -> io::Result<()> {
        let Self { address, listener, mut machine, faults } = self;
        let image = watch::Sender::new(Image::of(&machine.step(0.0)));
        let server = serve(address, listener, image.subscribe(), faults.subscribe());
        tokio::select! {
            () = stop.cancelled() => Ok(()),
            () = turn(&mut machine, &image, faults.subscribe()) => Ok(()),
            ended = server => ended,
        }
    }
}

async fn turn(machine: &mut Pasteuriser, image: &watch::Sender<Image>, faults: watch::Receiver<Faults>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    loop {
        ticks.tick().await;
        let now = Image::of(&machine.step(TICK.as_secs_f64()));
        let frozen = faults.borrow().frozen_temperature;
        image.send_modify(|shown| *shown = if frozen { now.with_temperature_of(shown) } else { now });
    }
}

async fn serve(
    address: SocketAddr,
    listener: TcpListener,
    image: watch::Receiver<Image>,
    mut faults: watch::Receiver<Faults>,
) -> io::Result<()> {
    let mut bound = Some(listener);
    loop {
        let listener = match bound.take() {
            Some(listener) => listener,
            None => rebind(address).await?,
        };
        let server = Server::new(listener);
        let connect = |stream, peer| {
            let service = Registers(image.clone());
            ready(accept_tcp_connection(stream, peer, |_| Ok(Some(service.clone()))))
        };
        let failed = |error: io::Error| tracing::debug!(%error, "a connection of the plant failed");
        // Dropping the server's future ends its connections too.
        tokio::select! {
            ended = server.serve(&connect, failed) => ended?,
            _ = faults.wait_for(|faults| faults.dropped_link) => {}
        }
        drop(server);
        if faults.wait_for(|faults| !faults.dropped_link).await.is_err() {
            return Ok(());
        }
    }
}

/// The old connections may hold the port for a moment.
async fn rebind(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 0..25 {
        if let Ok(listener) = TcpListener::bind(address).await {
            return Ok(listener);
        }
        tokio::time::sleep(REBIND).await;
    }
    TcpListener::bind(address).await
}

#[derive(Clone)]
struct Registers(watch::Receiver<Image>);

impl Service for Registers {
    type Request = Request<'static>;
    type Response = Response;
    type Exception = ExceptionCode;
    type Future = Ready<Result<Response, ExceptionCode>>;

    fn call(&self, request: Self::Request) -> Self::Future {
        let image = self.0.borrow();
        ready(match request {
            Request::ReadInputRegisters(start, count) => {
                part(&image.registers, start, count).map(Response::ReadInputRegisters)
            }
            Request::ReadDiscreteInputs(start, count) => {
                part(&image.bits, start, count).map(Response::ReadDiscreteInputs)
            }
            _ => Err(ExceptionCode::IllegalFunction),
        })
    }
}

fn part<T: Copy>(all: &[T], start: u16, count: u16) -> Result<Vec<T>, ExceptionCode> {
    let (start, count) = (usize::from(start), usize::from(count));
    all.get(start..start + count).map(<[T]>::to_vec).ok_or(ExceptionCode::IllegalDataAddress)
}

#[cfg(test)]
mod tests;
