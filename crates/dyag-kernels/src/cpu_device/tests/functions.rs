//! Functions of single numbers, and of single rows.

use super::*;

#[test]
fn error_function() {
    for i in -60_000..=60_000 {
        let x = i as f32 * 1e-4;
        let (got, expected) = (f64::from(math::erf(x)), crate::reference::erf(f64::from(x)));
        assert!(
            (got - expected).abs() <= 4e-7 && (got - expected).abs() <= 4e-7 * expected.abs().max(1e-3),
            "erf({x}) = {got}, expected {expected}"
        );
    }
    assert!(math::erf(f32::NAN).is_nan() && math::erf(f32::INFINITY) == 1.0);
    // Abramowitz & Stegun, table 7.1.
    assert!((crate::reference::erf(0.5) - 0.520_499_877_8).abs() < 1e-10 && (crate::reference::erf(2.0) - 0.995_322_265_0).abs() < 1e-10);
}

#[test]
fn exponentials_stay_within_two_units_in_the_last_place() {
    for i in -8_700..=8_800 {
        let x = i as f32 / 100.0 + 0.003;
        let (got, expected) = (f64::from(math::exp(x)), f64::from(x).exp());
        if expected > 1.2e-38 && x < 88.0 {
            assert!(((got - expected) / expected).abs() < 2.0 * f64::from(f32::EPSILON), "exp({x}) = {got}, expected {expected}");
        }
    }
    assert_eq!(math::exp(f32::NEG_INFINITY), 0.0);
}

#[test]
fn the_largest_value_of_each_row() {
    let (rows, mut values) = (5, numbers(3, 5 * 1003));
    for width in [1, 15, 16, 17, 1003] {
        let len = rows * width;
        // Equal largest values, NaN before and after them, a row of nothing else, and one of negative infinities.
        values[..len].iter_mut().for_each(|value| *value = value.clamp(-0.9, 0.9));
        values[width / 2] = 2.0;
        values[width - 1] = 2.0;
        values[0] = if width > 2 { f32::NAN } else { values[0] };
        values[width..2 * width].fill(f32::NAN);
        values[2 * width..3 * width].fill(f32::NEG_INFINITY);
        values[4 * width - 1] = f32::INFINITY;
        let expected = ReferenceDevice::new(Precision::F32).largest(&values[..len].to_vec(), width);
        for threads in [1, 2] {
            let device =
                CpuDevice::new(CpuOptions { precision: Precision::F32, threads: Some(threads), level: None, int8_activations: false })
                    .unwrap();
            assert_eq!(device.largest(&device.upload(&values[..len]), width), expected, "{width}");
        }
        assert_eq!(expected[..4], [(width / 2) as u32, 0, 0, (width - 1) as u32], "{width}");
    }
}

#[test]
fn activations_by_themselves() {
    for (len, scale) in [(1, 1.0), (17, 9.0), (40_001, 7.0)] {
        let x: Vec<f32> = numbers(1, len).into_iter().map(|v| v * scale).collect();
        compare(Precision::F32, 1e-6, &format!("activations {len}"), |device| device.activations(&x));
    }
}
