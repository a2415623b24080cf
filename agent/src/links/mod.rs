//! The ways in: one file a way. Each moves bytes, cuts them into frames and hands the frames to the intake; none of them
//! looks into a frame.
//!
//! Bounds: the channel to the intake holds [`FRAMES_QUEUED_MAX`] frames for all links together. When it is full, links
//! stop reading, and the devices keep their records: nothing is dropped here.

pub mod backoff;
pub mod serial;
pub mod stream;
pub mod tcp;
pub mod trust;
pub mod unix;

use std::sync::Arc;

use gridpost_protocol::frame::FrameBuf;
use tokio::sync::mpsc;

/// Frames from all links that wait for the intake: at 512 bytes each, half a megabyte.
pub const FRAMES_QUEUED_MAX: usize = 1024;
/// Answers that wait to be written to one connection. A device has few frames under way; when an answer finds no room it
/// is dropped, and the device asks again.
pub const ANSWERS_QUEUED_MAX: usize = 32;

/// A frame as it came off a link, not yet authenticated, and where answers go.
#[derive(Debug)]
pub struct FrameIn {
    /// The link's name, as configured.
    pub link: Arc<str>,
    /// The frame.
    pub frame: FrameBuf,
    /// To the connection it came from.
    pub answers: mpsc::Sender<FrameBuf>,
    /// To be marked when the frame is authentic.
    pub proof: Arc<trust::Proof>,
}

/// Where links put frames.
pub type Frames = mpsc::Sender<FrameIn>;
