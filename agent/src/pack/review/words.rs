//! What those who do not write packs call things.

use gridpost_protocol::quantity::Quantity;

use super::Sentence;

/// A quantity: in Chinese its name, with the word that stands in the pack; in English that word.
pub(super) fn quantity(quantity: Quantity) -> Sentence {
    use Quantity as Q;
    let en = quantity.to_string();
    let name = match quantity {
        Q::LAeq => "等效连续A声级",
        Q::LAF | Q::LAS => "A声级",
        Q::LAFmax | Q::LASmax => "最大A声级",
        Q::LAFmin => "最小A声级",
        Q::LCeq => "等效连续C声级",
        Q::LZeq => "等效连续声压级",
        Q::LCpeak => "C计权峰值声级",
        Q::LAE => "声暴露级",
        Q::L5 | Q::L10 | Q::L50 | Q::L90 | Q::L95 => "累积百分声级",
        Q::LevelDeviation => "声级标准偏差",
        Q::LAIeq => "脉冲计权等效声级",
        Q::ImpulseProminence => "脉冲突出度",
        Q::LowFrequencyShare => "低频成分",
        Q::Tonality => "有调性",
        Q::ModulationDepth => "调制深度",
        Q::Temperature => "温度",
        Q::Humidity => "相对湿度",
        Q::Pressure => "气压",
        Q::Pm1 | Q::Pm25 | Q::Pm10 => "颗粒物",
        Q::Tsp => "总悬浮颗粒物",
        Q::Co2 => "二氧化碳",
        Q::Voc => "挥发性有机物",
        Q::WaterLevel => "水位",
        Q::Tilt => "倾角",
        Q::WindSpeed => "风速",
        Q::WindDirection => "风向",
        Q::Rain => "雨量",
        Q::RainRate => "雨强",
        Q::BatteryVoltage => "电池电压",
        Q::BatteryCharge => "电量",
        Q::Vibration => "振动速度",
        other if Q::OCTAVES.contains(&other) => "倍频带声压级",
        _ => "本区自定监测量",
    };
    Sentence { zh: format!("{name}（{en}）"), en }
}

/// The levels of implementation as packs have them, and in Chinese; the highest first.
pub(super) const LEVELS: [(&str, &str); 4] =
    [("city", "市级"), ("district", "区级"), ("sub-district", "街道"), ("community", "社区")];

/// A level in Chinese.
pub(super) fn level(word: &str) -> &str {
    LEVELS.iter().find(|(en, _)| *en == word).map_or(word, |(_, zh)| zh)
}

#[cfg(test)]
mod tests {
    use super::quantity;
    use gridpost_protocol::quantity::Quantity;

    #[test]
    fn every_quantity_has_a_chinese_name() {
        for named in Quantity::NAMED {
            assert!(!quantity(*named).zh.contains("自定"), "{named}");
        }
        assert!(quantity(Quantity::Custom(7)).zh.contains("自定"));
    }
}
