//! The second thread, where there is one: it takes blocks of frames, checks, stamps and writes, and
//! hands them back with the responses.

use super::answers::{Answers, Block};
use crate::net::Doorbell;
use std::io::Result;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

/// Where frames are handled.
pub enum Work {
    Here(Box<Answers>),
    Writer {
        to: Sender<Block>,
        from: Receiver<Block>,
        doorbell: Arc<Doorbell>,
    },
}

pub fn start_writer(answers: Answers, doorbell: Arc<Doorbell>) -> Result<Work> {
    let (to, inbox) = channel();
    let (outbox, from) = channel();
    let bell = Arc::clone(&doorbell);
    std::thread::Builder::new()
        .name("writer-0".to_string())
        .spawn(move || {
            if let Err(error) = write_blocks(answers, &inbox, &outbox, &bell) {
                // Half a server is worse than none.
                eprintln!("limit-server: writing failed: {error}");
                std::process::exit(1);
            }
        })?;
    Ok(Work::Writer { to, from, doorbell })
}

fn write_blocks(
    mut answers: Answers,
    inbox: &Receiver<Block>,
    outbox: &Sender<Block>,
    doorbell: &Doorbell,
) -> Result<()> {
    let mut waiting: Vec<Block> = Vec::new();
    while let Ok(first) = inbox.recv() {
        let mut next = Some(first);
        while let Some(mut block) = next {
            answers.handle(&mut block)?;
            waiting.push(block);
            if answers.appender.is_flushed() || waiting.len() >= 256 {
                answers.appender.flush()?;
                hand_back(&mut waiting, outbox, doorbell);
            }
            next = inbox.try_recv().ok();
        }
        answers.appender.flush()?;
        hand_back(&mut waiting, outbox, doorbell);
    }
    Ok(())
}

fn hand_back(waiting: &mut Vec<Block>, outbox: &Sender<Block>, doorbell: &Doorbell) {
    if waiting.is_empty() {
        return;
    }
    for block in waiting.drain(..) {
        let _ = outbox.send(block); // The network thread is gone only when the process ends.
    }
    doorbell.ring();
}
