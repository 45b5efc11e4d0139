//! A connection to a Modbus TCP device, over tokio-modbus for now.
//!
//! tokio-modbus 0.17 keeps one request in flight and is out of step after a timeout: every later call fails with a header
//! mismatch (upstream #324). So a connection that has failed once is of no further use: drop it and connect again.

use std::time::Duration;

use lotline_domain::signal::ModbusTable;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_modbus::client::{Context, Reader, tcp};
use tokio_modbus::slave::{Slave, SlaveContext};

use super::{Answer, Exception, Request};

/// An open connection.
pub struct Connection {
    context: Context,
    timeout: Duration,
}

/// Why there is no answer. The connection is then of no use any more.
#[derive(Debug, Error)]
pub enum ConnectionError {
    /// No answer in time.
    #[error("the device did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    /// Refused, reset, or no route.
    #[error("the connection failed")]
    Io(#[source] std::io::Error),
    /// Not Modbus, or an answer to another request.
    #[error("the device does not keep to the protocol")]
    Protocol(#[source] tokio_modbus::ProtocolError),
    /// An answer of another length than was asked for.
    #[error("the device's answers do not fit the requests")]
    OutOfStep,
}

impl Connection {
    /// Connects; `patience` limits the connecting and every request after it.
    ///
    /// # Errors
    /// [`ConnectionError`].
    pub async fn open(host: &str, port: u16, patience: Duration) -> Result<Self, ConnectionError> {
        let connecting = timeout(patience, TcpStream::connect((host, port)));
        let stream = connecting.await.map_err(|_| ConnectionError::Timeout(patience))?.map_err(ConnectionError::Io)?;
        stream.set_nodelay(true).map_err(ConnectionError::Io)?;
        Ok(Self { context: tcp::attach(stream), timeout: patience })
    }

    /// Asks and waits for the answer; a refusal by the device is an answer too.
    ///
    /// # Errors
    /// [`ConnectionError`], after which the connection must be dropped.
    pub async fn read(&mut self, request: Request) -> Result<Answer, ConnectionError> {
        let Request { unit, table, start, count } = request;
        self.context.set_slave(Slave(unit));
        let context = &mut self.context;
        let reading = async {
            Ok(match table {
                ModbusTable::Coils => context.read_coils(start, count).await?.map(Answer::Bits),
                ModbusTable::DiscreteInputs => context.read_discrete_inputs(start, count).await?.map(Answer::Bits),
                ModbusTable::HoldingRegisters => {
                    context.read_holding_registers(start, count).await?.map(Answer::Registers)
                }
                ModbusTable::InputRegisters => context.read_input_registers(start, count).await?.map(Answer::Registers),
            })
        };
        let answer = timeout(self.timeout, reading).await.map_err(|_| ConnectionError::Timeout(self.timeout))?;
        match answer {
            Ok(answer) => Ok(answer.unwrap_or_else(|code| Answer::Exception(Exception::from_code(code.into())))),
            Err(tokio_modbus::Error::Transport(source)) => Err(ConnectionError::Io(source)),
            Err(tokio_modbus::Error::Protocol(source)) => Err(ConnectionError::Protocol(source)),
        }
    }
}
