//! The ways in: one file a way. Each moves bytes, cuts them into frames and hands the frames to the intake; none of them
//! looks into a frame.
//!
//! Bounds: the channel to the intake holds [`FRAMES_QUEUED_MAX`] frames for all links together, and of one connection
//! [`FRAMES_PER_CONNECTION_MAX`] frames wait or are being committed. At either bound a link stops reading, and the device keeps its
//! records: nothing is dropped here. So a device that sends as fast as it can is in each group of frames with its share, and everybody
//! else's frames are in the next group, whatever it sends.

pub mod backoff;
pub mod serial;
pub mod stream;
pub mod tcp;
pub mod trust;
pub mod unix;

use std::sync::Arc;

use gridpost_protocol::frame::FrameBuf;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

/// Frames from all links that wait for the intake: at 512 bytes each, half a megabyte.
pub const FRAMES_QUEUED_MAX: usize = 1024;
/// Frames of one connection that wait for the intake or for their commit: two windows of a device.
pub const FRAMES_PER_CONNECTION_MAX: usize = 8;
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
    pub answers: mpsc::Sender<Box<FrameBuf>>,
    /// To be marked when the frame is authentic.
    pub proof: Arc<trust::Proof>,
    /// Its place among its connection's frames; free again when the frame is dropped, after its commit.
    pub place: Option<OwnedSemaphorePermit>,
}

/// Where links put frames.
pub type Frames = mpsc::Sender<FrameIn>;
