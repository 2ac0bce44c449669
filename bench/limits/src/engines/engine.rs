//! The ways to append.

/// RWF_DONTCACHE: through the page cache, which drops the pages once they are written (Linux 6.14).
pub const DONTCACHE: libc::c_int = 0x80;

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Engine {
    BufferedBehind,
    Buffered,
    DontCache,
    /// So many writes under way.
    DirectRing(usize),
    DirectGrowing,
}

impl Engine {
    pub const ALL: [Engine; 7] = [
        Engine::BufferedBehind,
        Engine::Buffered,
        Engine::DontCache,
        Engine::DirectRing(1),
        Engine::DirectRing(4),
        Engine::DirectRing(16),
        Engine::DirectGrowing,
    ];

    pub fn name(self) -> String {
        match self {
            Engine::BufferedBehind => "buffered-behind".to_string(),
            Engine::Buffered => "buffered".to_string(),
            Engine::DontCache => "dontcache".to_string(),
            Engine::DirectRing(depth) => format!("direct-{depth}"),
            Engine::DirectGrowing => "direct-growing".to_string(),
        }
    }

    pub fn named(name: &str) -> Result<Engine, String> {
        let mut all = Engine::ALL.into_iter();
        all.find(|engine| engine.name() == name)
            .ok_or_else(|| format!("--engines {name}: there is no such engine"))
    }

    pub fn is_direct(self) -> bool {
        matches!(self, Engine::DirectRing(_) | Engine::DirectGrowing)
    }

    pub fn is_preallocated(self) -> bool {
        matches!(self, Engine::DirectRing(_))
    }
}
