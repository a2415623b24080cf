//! What can be measured, and in which unit.
//!
//! The list is append-only: a code, once given, means the same for ever, because records with it lie in flash queues
//! and spools. A code that this version does not know is kept as it came ([`Quantity::Unknown`]).

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Codes from here to [`CUSTOM_LAST`] belong to a district's own quantities.
const CUSTOM_FIRST: u16 = 0x4000;
/// The last custom code.
const CUSTOM_LAST: u16 = 0x7fff;
/// How many custom quantities there are: `custom0` to `custom16383`.
pub const CUSTOM_COUNT: u16 = CUSTOM_LAST - CUSTOM_FIRST + 1;

macro_rules! quantities {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $name:literal, $unit:literal, $energy:literal;)*) => {
        /// A measured quantity. Each has one unit ([`Quantity::unit`]); values are thousandths of it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Quantity {
            $($(#[$doc])* $variant,)*
            /// A district's own quantity, numbered by the district, below [`CUSTOM_COUNT`]; it has no unit here.
            Custom(u16),
            /// A code of a later version: carried, not understood.
            Unknown(u16),
        }

        impl Quantity {
            /// All quantities that have a name here, in the order of their codes.
            pub const NAMED: &'static [Self] = &[$(Self::$variant),*];

            /// The code on the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Custom(n) => CUSTOM_FIRST | (n & (CUSTOM_COUNT - 1)),
                    Self::Unknown(code) => code,
                }
            }

            /// The quantity of a code; total.
            #[must_use]
            pub const fn from_code(code: u16) -> Self {
                match code {
                    $($code => Self::$variant,)*
                    CUSTOM_FIRST..=CUSTOM_LAST => Self::Custom(code - CUSTOM_FIRST),
                    other => Self::Unknown(other),
                }
            }

            /// The unit, as written in UCUM where UCUM has one; `1` for a number without a unit.
            #[must_use]
            pub const fn unit(self) -> &'static str {
                match self {
                    $(Self::$variant => $unit,)*
                    Self::Custom(_) | Self::Unknown(_) => "1",
                }
            }

            /// Whether it is a level in decibels of which a mean is a mean of energies (LAeq), not of numbers.
            #[must_use]
            pub const fn averages_energy(self) -> bool {
                match self {
                    $(Self::$variant => $energy,)*
                    Self::Custom(_) | Self::Unknown(_) => false,
                }
            }

            const fn name(self) -> Option<&'static str> {
                match self {
                    $(Self::$variant => Some($name),)*
                    Self::Custom(_) | Self::Unknown(_) => None,
                }
            }
        }
    };
}

quantities! {
    /// A-weighted equivalent continuous level over the reading's own interval.
    LAeq = 1, "LAeq", "dB", true;
    /// A-weighted, Fast time-weighted level.
    LAF = 2, "LAF", "dB", true;
    /// A-weighted, Slow time-weighted level.
    LAS = 3, "LAS", "dB", true;
    /// Maximum of LAF over the interval.
    LAFmax = 4, "LAFmax", "dB", false;
    /// Minimum of LAF over the interval.
    LAFmin = 5, "LAFmin", "dB", false;
    /// Maximum of LAS over the interval.
    LASmax = 6, "LASmax", "dB", false;
    /// C-weighted equivalent continuous level.
    LCeq = 7, "LCeq", "dB", true;
    /// Unweighted equivalent continuous level.
    LZeq = 8, "LZeq", "dB", true;
    /// C-weighted peak level.
    LCpeak = 9, "LCpeak", "dB", false;
    /// A-weighted sound exposure level.
    LAE = 10, "LAE", "dB", false;
    /// Level exceeded 5 % of the time.
    L5 = 11, "L5", "dB", false;
    /// Level exceeded 10 % of the time.
    L10 = 12, "L10", "dB", false;
    /// Level exceeded 50 % of the time.
    L50 = 13, "L50", "dB", false;
    /// Level exceeded 90 % of the time.
    L90 = 14, "L90", "dB", false;
    /// Level exceeded 95 % of the time.
    L95 = 15, "L95", "dB", false;
    /// Standard deviation of the level.
    LevelDeviation = 16, "SD", "dB", false;
    /// A-weighted, Impulse time-weighted equivalent level.
    LAIeq = 17, "LAIeq", "dB", true;
    /// Prominence of impulses, after NT ACOU 112.
    ImpulseProminence = 18, "impulse_prominence", "1", false;
    /// Level difference LCeq - LAeq: the share of low frequencies.
    LowFrequencyShare = 19, "low_frequency_share", "dB", false;
    /// Tonality by neighbouring third-octave bands, after ISO 1996-2 annex K.
    Tonality = 20, "tonality", "dB", false;
    /// Modulation depth of LAF.
    ModulationDepth = 21, "modulation_depth", "dB", false;
    /// Air or case temperature.
    Temperature = 32, "temperature", "Cel", false;
    /// Relative humidity.
    Humidity = 33, "humidity", "%", false;
    /// Air pressure.
    Pressure = 34, "pressure", "hPa", false;
    /// Mass concentration of particles up to 1 um.
    Pm1 = 35, "PM1", "ug/m3", false;
    /// Mass concentration of particles up to 2.5 um.
    Pm25 = 36, "PM2.5", "ug/m3", false;
    /// Mass concentration of particles up to 10 um.
    Pm10 = 37, "PM10", "ug/m3", false;
    /// Mass concentration of total suspended particles.
    Tsp = 38, "TSP", "ug/m3", false;
    /// Carbon dioxide.
    Co2 = 39, "CO2", "[ppm]", false;
    /// Volatile organic compounds.
    Voc = 40, "VOC", "[ppb]", false;
    /// Depth of water above the gauge's zero.
    WaterLevel = 41, "water_level", "m", false;
    /// Tilt from the installed position.
    Tilt = 42, "tilt", "deg", false;
    /// Wind speed.
    WindSpeed = 43, "wind_speed", "m/s", false;
    /// Direction the wind comes from, clockwise from north.
    WindDirection = 44, "wind_direction", "deg", false;
    /// Rain since the last reading.
    Rain = 45, "rain", "mm", false;
    /// Rain rate.
    RainRate = 46, "rain_rate", "mm/h", false;
    /// Battery voltage.
    BatteryVoltage = 47, "battery_voltage", "V", false;
    /// Battery charge.
    BatteryCharge = 48, "battery", "%", false;
    /// Vibration velocity, root mean square.
    Vibration = 49, "vibration", "mm/s", false;
    /// Unweighted equivalent continuous level of the octave around 31.5 Hz.
    Octave31Hz5 = 50, "LZeq_31.5Hz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 63 Hz.
    Octave63Hz = 51, "LZeq_63Hz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 125 Hz.
    Octave125Hz = 52, "LZeq_125Hz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 250 Hz.
    Octave250Hz = 53, "LZeq_250Hz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 500 Hz.
    Octave500Hz = 54, "LZeq_500Hz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 1 kHz.
    Octave1kHz = 55, "LZeq_1kHz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 2 kHz.
    Octave2kHz = 56, "LZeq_2kHz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 4 kHz.
    Octave4kHz = 57, "LZeq_4kHz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 8 kHz.
    Octave8kHz = 58, "LZeq_8kHz", "dB", true;
    /// Unweighted equivalent continuous level of the octave around 16 kHz.
    Octave16kHz = 59, "LZeq_16kHz", "dB", true;
}

impl Quantity {
    /// The octave bands, lowest first.
    pub const OCTAVES: [Self; 10] = [
        Self::Octave31Hz5,
        Self::Octave63Hz,
        Self::Octave125Hz,
        Self::Octave250Hz,
        Self::Octave500Hz,
        Self::Octave1kHz,
        Self::Octave2kHz,
        Self::Octave4kHz,
        Self::Octave8kHz,
        Self::Octave16kHz,
    ];
}

/// The name of a quantity was not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAQuantity;

impl fmt::Display for NotAQuantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a known quantity (such as LAeq, PM10, temperature, or custom0 to custom16383)")
    }
}

impl core::error::Error for NotAQuantity {}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.name(), self) {
            (Some(name), _) => f.pad(name),
            (None, Self::Custom(n)) => write!(f, "custom{n}"),
            (None, other) => write!(f, "unknown{}", other.code()),
        }
    }
}

impl FromStr for Quantity {
    type Err = NotAQuantity;

    /// The exact name; letter case does not matter.
    fn from_str(text: &str) -> Result<Self, NotAQuantity> {
        if let Some(found) =
            Self::NAMED.iter().find(|q| q.name().is_some_and(|name| name.eq_ignore_ascii_case(text)))
        {
            return Ok(*found);
        }
        match text.strip_prefix("custom").and_then(|n| n.parse().ok()) {
            Some(n) if n < CUSTOM_COUNT => Ok(Self::Custom(n)),
            _ => Err(NotAQuantity),
        }
    }
}

impl Serialize for Quantity {
    /// The code on the wire; the name where people read it (JSON, TOML).
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_u16(self.code())
        }
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let name: heapless::String<32> = Deserialize::deserialize(deserializer)?;
            name.parse().map_err(serde::de::Error::custom)
        } else {
            u16::deserialize(deserializer).map(Self::from_code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_comes_back_as_itself() {
        for code in 0..=u16::MAX {
            assert_eq!(Quantity::from_code(code).code(), code);
        }
    }

    #[test]
    fn every_name_is_unique_and_comes_back() {
        for quantity in Quantity::NAMED {
            assert_eq!(quantity.to_string().parse(), Ok(*quantity));
        }
        assert_eq!("custom16383".parse(), Ok(Quantity::Custom(16383)));
        assert_eq!("custom16384".parse::<Quantity>(), Err(NotAQuantity));
        assert_eq!("laeq".parse(), Ok(Quantity::LAeq));
    }
}
