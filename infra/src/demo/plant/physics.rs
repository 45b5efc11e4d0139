//! A pasteuriser as its sensors see it: first-order lags, noise, and now and then a disturbance. Deterministic by its seed.
//!
//! Milk is heated above 72 °C and held there (HTST, Codex CAC/RCP 57-2004). When steam sags the temperature falls, and below 72 °C
//! the divert valve sends the milk back until it has been hot for five seconds again. Diverted milk does not count in the total.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Below this the milk is not pasteurised.
pub const LIMIT_C: f64 = 72.0;
const SETPOINT_C: f64 = 72.9;
const SAG_C: f64 = 70.6;
const FLOW_L_PER_H: f64 = 5_000.0;
const HOT_AGAIN_S: f64 = 5.0;

/// What the sensors show.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sensors {
    /// At the end of the holding tube.
    pub temperature_c: f64,
    /// Behind the cooler.
    pub outlet_c: f64,
    /// Through the holding tube, in litres per hour.
    pub flow_l_per_h: f64,
    /// Before the holding tube, in bar.
    pub pressure_bar: f64,
    /// Pasteurised since the beginning.
    pub total_l: f64,
    /// Whether milk goes back instead of on.
    pub is_diverting: bool,
    /// Whether the pump runs.
    pub is_pumping: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Pasteuriser {
    random: SmallRng,
    /// True values, without the noise of sensors.
    state: Sensors,
    sag_left_s: f64,
    stop_left_s: f64,
    hot_for_s: f64,
}

impl Pasteuriser {
    /// A machine that is warm and runs.
    pub fn new(seed: u64) -> Self {
        let state = Sensors {
            temperature_c: SETPOINT_C,
            outlet_c: 4.0,
            flow_l_per_h: FLOW_L_PER_H,
            pressure_bar: 2.1,
            total_l: 0.0,
            is_diverting: false,
            is_pumping: true,
        };
        let random = SmallRng::seed_from_u64(seed);
        Self { random, state, sag_left_s: 0.0, stop_left_s: 0.0, hot_for_s: HOT_AGAIN_S }
    }

    /// Lets `dt_s` seconds pass and reads the sensors.
    pub fn step(&mut self, dt_s: f64) -> Sensors {
        self.disturb(dt_s);
        let sagging = self.sag_left_s > 0.0;
        let steam = self.noise(0.08) * dt_s.sqrt();
        let state = &mut self.state;
        state.is_pumping = self.stop_left_s <= 0.0;
        lag(&mut state.temperature_c, if sagging { SAG_C } else { SETPOINT_C }, 6.0, dt_s);
        state.temperature_c += steam;
        lag(&mut state.flow_l_per_h, if state.is_pumping { FLOW_L_PER_H } else { 0.0 }, 2.0, dt_s);
        lag(&mut state.outlet_c, if state.is_pumping { 4.0 } else { 5.5 }, 30.0, dt_s);
        state.pressure_bar = 1.2 + 0.9 * state.flow_l_per_h / FLOW_L_PER_H;
        self.hot_for_s = if state.temperature_c < LIMIT_C { 0.0 } else { self.hot_for_s + dt_s };
        state.is_diverting = self.hot_for_s < HOT_AGAIN_S;
        if !state.is_diverting {
            state.total_l += state.flow_l_per_h * dt_s / 3_600.0;
        }
        self.read()
    }

    /// About every four minutes steam sags for half a minute, about every fifteen the pump stops for a while.
    fn disturb(&mut self, dt_s: f64) {
        self.sag_left_s = (self.sag_left_s - dt_s).max(0.0);
        self.stop_left_s = (self.stop_left_s - dt_s).max(0.0);
        if self.sag_left_s == 0.0 && self.random.random_bool((dt_s / 240.0).min(1.0)) {
            self.sag_left_s = self.random.random_range(15.0..40.0);
        }
        if self.stop_left_s == 0.0 && self.random.random_bool((dt_s / 900.0).min(1.0)) {
            self.stop_left_s = self.random.random_range(10.0..30.0);
        }
    }

    fn read(&mut self) -> Sensors {
        let mut seen = self.state;
        seen.temperature_c += self.noise(0.02);
        seen.outlet_c += self.noise(0.03);
        seen.flow_l_per_h = (seen.flow_l_per_h + self.noise(12.0)).max(0.0);
        seen.pressure_bar += self.noise(0.005);
        seen
    }

    /// Close to normal, with this deviation: the sum of twelve uniform numbers has variance 1.
    fn noise(&mut self, deviation: f64) -> f64 {
        let sum: f64 = (0..12).map(|_| self.random.random::<f64>()).sum();
        (sum - 6.0) * deviation
    }
}

fn lag(value: &mut f64, target: f64, time_constant_s: f64, dt_s: f64) {
    *value += (target - *value) * (1.0 - (-dt_s / time_constant_s).exp());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(seed: u64, steps: usize) -> Vec<Sensors> {
        let mut machine = Pasteuriser::new(seed);
        (0..steps).map(|_| machine.step(0.1)).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_day() {
        assert_eq!(run(7, 1_000), run(7, 1_000));
        assert_ne!(run(7, 10), run(8, 10));
    }

    #[test]
    fn an_hour_stays_within_physics_and_has_its_incidents() {
        let hour = run(1, 36_000);
        assert!(hour.iter().all(|seen| (68.0..76.0).contains(&seen.temperature_c)));
        assert!(hour.iter().all(|seen| (0.0..5_200.0).contains(&seen.flow_l_per_h)));
        assert!(hour.windows(2).all(|pair| pair[1].total_l >= pair[0].total_l));
        let diverting = hour.iter().filter(|seen| seen.is_diverting).count();
        assert!((300..18_000).contains(&diverting), "{diverting}");
        assert!(hour.iter().any(|seen| !seen.is_pumping));
    }

    #[test]
    fn cold_milk_is_never_counted() {
        let mut machine = Pasteuriser::new(3);
        let mut before = machine.state;
        for _ in 0..100_000 {
            machine.step(0.1);
            let now = machine.state;
            assert!(now.temperature_c >= LIMIT_C || now.total_l <= before.total_l);
            before = now;
        }
    }
}
