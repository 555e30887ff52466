use super::*;

#[test]
fn memory_is_short_at_92_and_out_at_95_hundredths() {
    assert_eq!(judge(919, 1_000), Memory::Enough);
    assert_eq!(judge(920, 1_000), Memory::Short);
    assert_eq!(judge(949, 1_000), Memory::Short);
    assert_eq!(judge(950, 1_000), Memory::Out);
    assert_eq!(judge(u64::MAX, 1), Memory::Out);
}

#[cfg(target_os = "linux")]
#[tokio::test(start_paused = true)]
async fn a_process_that_takes_more_than_its_budget_is_out_of_memory_until_it_does_not() {
    let pressure = Pressure::default();
    let watch = |memory_max| {
        let config = Config {
            memory_max,
            lag_max: Duration::from_secs(60),
        };
        Watch::new(&config, pressure.clone(), &Registry::new()).unwrap()
    };
    assert_eq!(pressure.memory(), Memory::Enough);
    let _late = tokio::time::timeout(PERIOD * 3, watch(Some(1)).run()).await;
    assert_eq!(pressure.memory(), Memory::Out);
    let _late = tokio::time::timeout(PERIOD * 3, watch(None).run()).await;
    assert_eq!(pressure.memory(), Memory::Enough);
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_knows_what_it_takes_and_what_it_may_take() {
    let (taken, max) = (resident().unwrap(), given().unwrap());
    assert!(taken > 0 && taken < max, "{taken} of {max}");
}
