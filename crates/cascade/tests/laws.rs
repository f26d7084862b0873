//! What holds of every cascade: same output for any threads, limits and pool; never over the pool;
//! an end in every case.

use std::sync::atomic::{AtomicU64, Ordering};

use halocline_budget::Pool;
use halocline_cascade::{Accumulate, After, Cascade, CascadeError, Emit, Pressure, Why};
use proptest::prelude::*;

#[derive(Debug, thiserror::Error)]
#[error("item {0} is bad")]
struct Bad(usize);

/// Cuts the byte stream into pieces of exactly `piece` bytes, wherever items end.
struct Cutter {
    piece: usize,
    pending: Vec<u8>,
}

impl Accumulate for Cutter {
    type In = Vec<u8>;
    type Out = Vec<u8>;
    type Error = Bad;

    fn take(&mut self, item: Vec<u8>, out: &mut Emit<'_, Vec<u8>>) -> Result<(), Bad> {
        self.pending.extend_from_slice(&item);
        while self.pending.len() >= self.piece {
            let rest = self.pending.split_off(self.piece);
            let mut piece = std::mem::replace(&mut self.pending, rest);
            piece.shrink_to_fit();
            out.push(piece);
        }
        self.pending.shrink_to_fit();
        Ok(())
    }

    fn bytes(&self) -> u64 {
        self.pending.capacity() as u64
    }

    fn pass(&mut self, why: Why, out: &mut Emit<'_, Vec<u8>>) -> Result<(), Bad> {
        if why == Why::End && !self.pending.is_empty() {
            out.push(std::mem::take(&mut self.pending));
        }
        Ok(())
    }
}

struct Run {
    sizes: Vec<usize>,
    threads: usize,
    pool: u64,
    buffer: u64,
    piece: usize,
    share_in_use: fn() -> f64,
    fail_at: Option<usize>,
}

fn run(run: &Run) -> (Result<Vec<Vec<u8>>, CascadeError<Bad>>, Pool) {
    let pool = Pool::new(run.pool);
    let mut items = run.sizes.iter().enumerate();
    let mut pieces = Vec::new();
    let largest = run.sizes.iter().max().copied().unwrap_or(0) as u64;
    let result = Cascade::new(&pool)
        .threads(run.threads)
        .pressure(Pressure::with_probe(0.8, run.share_in_use))
        .source("items", largest, 200, || {
            Ok(items
                .next()
                .map(|(index, size)| vec![(index % 251) as u8; *size]))
        })
        .map(
            "copy",
            200,
            |item: &Vec<u8>| item.len() as u64,
            |item| {
                if run
                    .fail_at
                    .is_some_and(|at| item.first() == Some(&(at as u8)))
                {
                    return Err(Bad(0));
                }
                Ok(item.as_slice().to_vec())
            },
        )
        .buffer(
            "join",
            run.buffer,
            |items: Vec<Vec<u8>>, out: &mut Emit<'_, Vec<u8>>| {
                for item in items {
                    out.push(item);
                }
                Ok(())
            },
        )
        .accumulate(
            "cut",
            u64::MAX,
            After::Keep,
            Cutter {
                piece: run.piece,
                pending: Vec::new(),
            },
        )
        .map(
            "again",
            200,
            |item: &Vec<u8>| item.len() as u64,
            |item| Ok(item.as_slice().to_vec()),
        )
        .sink("collect", |piece: Vec<u8>| {
            pieces.push(piece);
            Ok(())
        })
        .run();
    (result.map(|_| pieces), pool)
}

fn expected(sizes: &[usize], piece: usize) -> Vec<Vec<u8>> {
    let all: Vec<u8> = sizes
        .iter()
        .enumerate()
        .flat_map(|(index, size)| std::iter::repeat_n((index % 251) as u8, *size))
        .collect();
    all.chunks(piece).map(<[u8]>::to_vec).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn the_output_is_a_function_of_the_input(
        sizes in proptest::collection::vec(0_usize..300, 0..60),
        threads in 1_usize..5,
        pool in 3_000_u64..20_000,
        buffer in 1_u64..900,
        piece in 1_usize..700,
        short in any::<bool>(),
    ) {
        let share_in_use = if short { || 0.95 } else { || 0.1 };
        let want = expected(&sizes, piece);
        let input = Run { sizes, threads, pool, buffer, piece, share_in_use, fail_at: None };
        let (got, pool) = run(&input);
        prop_assert_eq!(got.unwrap(), want);
        prop_assert_eq!(pool.reserved(), 0);
        prop_assert!(pool.peak() <= pool.limit());
    }

    /// A pool that may be too small: the right output or a refusal, never a hang.
    #[test]
    fn a_small_pool_ends_one_way_or_the_other(
        sizes in proptest::collection::vec(0_usize..300, 0..40),
        threads in 1_usize..4,
        pool in 0_u64..1_500,
        piece in 1_usize..700,
    ) {
        let want = expected(&sizes, piece);
        let input =
            Run { sizes, threads, pool, buffer: 400, piece, share_in_use: || 0.1, fail_at: None };
        let (got, pool) = run(&input);
        match got {
            Ok(pieces) => prop_assert_eq!(pieces, want),
            Err(CascadeError::Budget { .. }) => {}
            Err(error) => prop_assert!(false, "{error}"),
        }
        prop_assert_eq!(pool.reserved(), 0);
    }
}

fn input(threads: usize) -> Run {
    Run {
        sizes: vec![100; 200],
        threads,
        pool: 10_000,
        buffer: 300,
        piece: 250,
        share_in_use: || 0.1,
        fail_at: None,
    }
}

#[test]
fn a_stages_error_ends_the_run() {
    for threads in 1..4 {
        let (got, pool) = run(&Run {
            fail_at: Some(77),
            ..input(threads)
        });
        assert!(matches!(got, Err(CascadeError::Stage(Bad(0)))), "{threads}");
        assert_eq!(pool.reserved(), 0);
    }
}

#[test]
fn the_refusal_names_the_stage_and_the_figures() {
    let (got, _) = run(&Run {
        pool: 50,
        ..input(2)
    });
    let error = got.unwrap_err();
    assert!(error.to_string().contains("stage `items`"), "{error}");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(cause.contains("asked for 100 B"), "{cause}");
}

#[test]
#[should_panic(expected = "boom")]
fn a_panic_ends_the_run_on_every_thread() {
    let pool = Pool::new(10_000);
    let mut numbers = 0_u64..100;
    let _ = Cascade::new(&pool)
        .threads(3)
        .source("numbers", 8, 100, || Ok::<_, Bad>(numbers.next()))
        .map(
            "panic",
            100,
            |_| 8,
            |n| {
                assert!(n != 60, "boom");
                Ok(n)
            },
        )
        .sink("nothing", |_| Ok(()))
        .run();
}

#[test]
fn maps_run_beside_each_other_and_the_source_waits_for_room() {
    let pool = Pool::new(1 << 20);
    let made = AtomicU64::new(0);
    let taken = AtomicU64::new(0);
    let most_ahead = AtomicU64::new(0);
    let mut numbers = 0_u64..2_000;
    Cascade::new(&pool)
        .threads(2)
        .source("numbers", 8, 80, || {
            let ahead = made.fetch_add(1, Ordering::SeqCst) - taken.load(Ordering::SeqCst);
            most_ahead.fetch_max(ahead, Ordering::SeqCst);
            Ok::<_, Bad>(numbers.next())
        })
        .map("work", 80, |_| 8, Ok)
        .sink("count", |n| {
            assert_eq!(n, taken.fetch_add(1, Ordering::SeqCst));
            Ok(())
        })
        .run()
        .unwrap();
    assert_eq!(taken.load(Ordering::SeqCst), 2_000);
    // Two queues of ten, and one item in each thread's hands.
    assert!(most_ahead.load(Ordering::SeqCst) <= 24, "{most_ahead:?}");
}

/// A state flushed at its limit that still holds it is a bug of the stage, and said so.
#[test]
fn a_stage_that_does_not_flush_is_named() {
    struct Hoarder(u64);
    impl Accumulate for Hoarder {
        type In = u64;
        type Out = u64;
        type Error = Bad;
        fn take(&mut self, _: u64, _: &mut Emit<'_, u64>) -> Result<(), Bad> {
            self.0 += 8;
            Ok(())
        }
        fn bytes(&self) -> u64 {
            self.0
        }
        fn pass(&mut self, _: Why, _: &mut Emit<'_, u64>) -> Result<(), Bad> {
            Ok(())
        }
    }
    let pool = Pool::new(10_000);
    let mut numbers = 0_u64..100;
    let error = Cascade::new(&pool)
        .source("numbers", 8, 80, || Ok(numbers.next()))
        .accumulate("hoarder", 80, After::Flush, Hoarder(0))
        .sink("nothing", |_| Ok(()))
        .run()
        .unwrap_err();
    assert!(matches!(
        error,
        CascadeError::NotFlushed {
            stage: "hoarder",
            held_bytes: 80
        }
    ));
}
