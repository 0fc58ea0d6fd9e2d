//! Offsets and types of the models that PV inverters use (`sunspec/models`, `json/model_N.json`).

use super::{Model, Module, Point};
use crate::kind::Kind;

/// The models known here, by number.
pub const MODELS: &[Model] = &[
    Model { id: 1, length: 66, points: COMMON, module: None },
    Model { id: 101, length: 50, points: INVERTER, module: None },
    Model { id: 102, length: 50, points: INVERTER, module: None },
    Model { id: 103, length: 50, points: INVERTER, module: None },
    Model { id: 111, length: 60, points: INVERTER_FLOAT, module: None },
    Model { id: 112, length: 60, points: INVERTER_FLOAT, module: None },
    Model { id: 113, length: 60, points: INVERTER_FLOAT, module: None },
    Model { id: 120, length: 26, points: NAMEPLATE, module: None },
    Model { id: 121, length: 30, points: SETTINGS, module: None },
    Model { id: 123, length: 24, points: CONTROLS, module: None },
    Model {
        id: 160,
        length: 8,
        points: MPPT,
        module: Some(Module { length: 20, points: MPPT_MODULE }),
    },
];

const fn text(name: &'static str, offset: u16, registers: u16) -> Point {
    Point { name, offset, kind: Kind::Text, registers, scale_offset: None }
}

const fn plain(name: &'static str, offset: u16, kind: Kind) -> Point {
    let registers = match kind.registers() {
        Some(registers) => registers as u16,
        None => 0,
    };
    Point { name, offset, kind, registers, scale_offset: None }
}

const fn scaled(name: &'static str, offset: u16, kind: Kind, scale_offset: u16) -> Point {
    Point { scale_offset: Some(scale_offset), ..plain(name, offset, kind) }
}

const fn scale_factor(name: &'static str, offset: u16) -> Point {
    plain(name, offset, Kind::I16)
}

const COMMON: &[Point] = &[
    text("Mn", 2, 16),
    text("Md", 18, 16),
    text("Opt", 34, 8),
    text("Vr", 42, 8),
    text("SN", 50, 16),
    plain("DA", 66, Kind::U16),
];

const INVERTER: &[Point] = &[
    scaled("A", 2, Kind::U16, 6),
    scaled("AphA", 3, Kind::U16, 6),
    scaled("AphB", 4, Kind::U16, 6),
    scaled("AphC", 5, Kind::U16, 6),
    scale_factor("A_SF", 6),
    scaled("PPVphAB", 7, Kind::U16, 13),
    scaled("PPVphBC", 8, Kind::U16, 13),
    scaled("PPVphCA", 9, Kind::U16, 13),
    scaled("PhVphA", 10, Kind::U16, 13),
    scaled("PhVphB", 11, Kind::U16, 13),
    scaled("PhVphC", 12, Kind::U16, 13),
    scale_factor("V_SF", 13),
    scaled("W", 14, Kind::I16, 15),
    scale_factor("W_SF", 15),
    scaled("Hz", 16, Kind::U16, 17),
    scale_factor("Hz_SF", 17),
    scaled("VA", 18, Kind::I16, 19),
    scale_factor("VA_SF", 19),
    scaled("VAr", 20, Kind::I16, 21),
    scale_factor("VAr_SF", 21),
    scaled("PF", 22, Kind::I16, 23),
    scale_factor("PF_SF", 23),
    scaled("WH", 24, Kind::Acc32, 26),
    scale_factor("WH_SF", 26),
    scaled("DCA", 27, Kind::U16, 28),
    scale_factor("DCA_SF", 28),
    scaled("DCV", 29, Kind::U16, 30),
    scale_factor("DCV_SF", 30),
    scaled("DCW", 31, Kind::I16, 32),
    scale_factor("DCW_SF", 32),
    scaled("TmpCab", 33, Kind::I16, 37),
    scaled("TmpSnk", 34, Kind::I16, 37),
    scaled("TmpTrns", 35, Kind::I16, 37),
    scaled("TmpOt", 36, Kind::I16, 37),
    scale_factor("Tmp_SF", 37),
    plain("St", 38, Kind::Enum16),
    plain("StVnd", 39, Kind::Enum16),
    plain("Evt1", 40, Kind::Bits32),
    plain("Evt2", 42, Kind::Bits32),
    plain("EvtVnd1", 44, Kind::Bits32),
    plain("EvtVnd2", 46, Kind::Bits32),
    plain("EvtVnd3", 48, Kind::Bits32),
    plain("EvtVnd4", 50, Kind::Bits32),
];

const INVERTER_FLOAT: &[Point] = &[
    plain("A", 2, Kind::F32),
    plain("AphA", 4, Kind::F32),
    plain("AphB", 6, Kind::F32),
    plain("AphC", 8, Kind::F32),
    plain("PPVphAB", 10, Kind::F32),
    plain("PPVphBC", 12, Kind::F32),
    plain("PPVphCA", 14, Kind::F32),
    plain("PhVphA", 16, Kind::F32),
    plain("PhVphB", 18, Kind::F32),
    plain("PhVphC", 20, Kind::F32),
    plain("W", 22, Kind::F32),
    plain("Hz", 24, Kind::F32),
    plain("VA", 26, Kind::F32),
    plain("VAr", 28, Kind::F32),
    plain("PF", 30, Kind::F32),
    plain("WH", 32, Kind::F32),
    plain("DCA", 34, Kind::F32),
    plain("DCV", 36, Kind::F32),
    plain("DCW", 38, Kind::F32),
    plain("TmpCab", 40, Kind::F32),
    plain("TmpSnk", 42, Kind::F32),
    plain("TmpTrns", 44, Kind::F32),
    plain("TmpOt", 46, Kind::F32),
    plain("St", 48, Kind::Enum16),
    plain("StVnd", 49, Kind::Enum16),
    plain("Evt1", 50, Kind::Bits32),
    plain("Evt2", 52, Kind::Bits32),
    plain("EvtVnd1", 54, Kind::Bits32),
    plain("EvtVnd2", 56, Kind::Bits32),
    plain("EvtVnd3", 58, Kind::Bits32),
    plain("EvtVnd4", 60, Kind::Bits32),
];

const NAMEPLATE: &[Point] = &[
    plain("DERTyp", 2, Kind::Enum16),
    scaled("WRtg", 3, Kind::U16, 4),
    scale_factor("WRtg_SF", 4),
    scaled("VARtg", 5, Kind::U16, 6),
    scale_factor("VARtg_SF", 6),
    scaled("VArRtgQ1", 7, Kind::I16, 11),
    scaled("VArRtgQ2", 8, Kind::I16, 11),
    scaled("VArRtgQ3", 9, Kind::I16, 11),
    scaled("VArRtgQ4", 10, Kind::I16, 11),
    scale_factor("VArRtg_SF", 11),
    scaled("ARtg", 12, Kind::U16, 13),
    scale_factor("ARtg_SF", 13),
    scaled("PFRtgQ1", 14, Kind::I16, 18),
    scaled("PFRtgQ2", 15, Kind::I16, 18),
    scaled("PFRtgQ3", 16, Kind::I16, 18),
    scaled("PFRtgQ4", 17, Kind::I16, 18),
    scale_factor("PFRtg_SF", 18),
    scaled("WHRtg", 19, Kind::U16, 20),
    scale_factor("WHRtg_SF", 20),
    scaled("AhrRtg", 21, Kind::U16, 22),
    scale_factor("AhrRtg_SF", 22),
    scaled("MaxChaRte", 23, Kind::U16, 24),
    scale_factor("MaxChaRte_SF", 24),
    scaled("MaxDisChaRte", 25, Kind::U16, 26),
    scale_factor("MaxDisChaRte_SF", 26),
];

const SETTINGS: &[Point] = &[
    scaled("WMax", 2, Kind::U16, 22),
    scaled("VRef", 3, Kind::U16, 23),
    scaled("VRefOfs", 4, Kind::I16, 24),
    scaled("VMax", 5, Kind::U16, 25),
    scaled("VMin", 6, Kind::U16, 25),
    scaled("VAMax", 7, Kind::U16, 26),
    scaled("VArMaxQ1", 8, Kind::I16, 27),
    scaled("VArMaxQ2", 9, Kind::I16, 27),
    scaled("VArMaxQ3", 10, Kind::I16, 27),
    scaled("VArMaxQ4", 11, Kind::I16, 27),
    scaled("WGra", 12, Kind::U16, 28),
    scaled("PFMinQ1", 13, Kind::I16, 29),
    scaled("PFMinQ2", 14, Kind::I16, 29),
    scaled("PFMinQ3", 15, Kind::I16, 29),
    scaled("PFMinQ4", 16, Kind::I16, 29),
    plain("VArAct", 17, Kind::Enum16),
    plain("ClcTotVA", 18, Kind::Enum16),
    scaled("MaxRmpRte", 19, Kind::U16, 30),
    scaled("ECPNomHz", 20, Kind::U16, 31),
    plain("ConnPh", 21, Kind::Enum16),
    scale_factor("WMax_SF", 22),
    scale_factor("VRef_SF", 23),
    scale_factor("VRefOfs_SF", 24),
    scale_factor("VMinMax_SF", 25),
    scale_factor("VAMax_SF", 26),
    scale_factor("VArMax_SF", 27),
    scale_factor("WGra_SF", 28),
    scale_factor("PFMin_SF", 29),
    scale_factor("MaxRmpRte_SF", 30),
    scale_factor("ECPNomHz_SF", 31),
];

const CONTROLS: &[Point] = &[
    plain("Conn_WinTms", 2, Kind::U16),
    plain("Conn_RvrtTms", 3, Kind::U16),
    plain("Conn", 4, Kind::Enum16),
    scaled("WMaxLimPct", 5, Kind::U16, 23),
    plain("WMaxLimPct_WinTms", 6, Kind::U16),
    plain("WMaxLimPct_RvrtTms", 7, Kind::U16),
    plain("WMaxLimPct_RmpTms", 8, Kind::U16),
    plain("WMaxLim_Ena", 9, Kind::Enum16),
    scaled("OutPFSet", 10, Kind::I16, 24),
    plain("OutPFSet_WinTms", 11, Kind::U16),
    plain("OutPFSet_RvrtTms", 12, Kind::U16),
    plain("OutPFSet_RmpTms", 13, Kind::U16),
    plain("OutPFSet_Ena", 14, Kind::Enum16),
    scaled("VArWMaxPct", 15, Kind::I16, 25),
    scaled("VArMaxPct", 16, Kind::I16, 25),
    scaled("VArAvalPct", 17, Kind::I16, 25),
    plain("VArPct_WinTms", 18, Kind::U16),
    plain("VArPct_RvrtTms", 19, Kind::U16),
    plain("VArPct_RmpTms", 20, Kind::U16),
    plain("VArPct_Mod", 21, Kind::Enum16),
    plain("VArPct_Ena", 22, Kind::Enum16),
    scale_factor("WMaxLimPct_SF", 23),
    scale_factor("OutPFSet_SF", 24),
    scale_factor("VArPct_SF", 25),
];

const MPPT: &[Point] = &[
    scale_factor("DCA_SF", 2),
    scale_factor("DCV_SF", 3),
    scale_factor("DCW_SF", 4),
    scale_factor("DCWH_SF", 5),
    plain("Evt", 6, Kind::Bits32),
    plain("N", 8, Kind::U16),
    plain("TmsPer", 9, Kind::U16),
];

const MPPT_MODULE: &[Point] = &[
    plain("ID", 0, Kind::U16),
    text("IDStr", 1, 8),
    scaled("DCA", 9, Kind::U16, 2),
    scaled("DCV", 10, Kind::U16, 3),
    scaled("DCW", 11, Kind::U16, 4),
    scaled("DCWH", 12, Kind::Acc32, 5),
    plain("Tms", 14, Kind::U32),
    plain("Tmp", 16, Kind::I16),
    plain("DCSt", 17, Kind::Enum16),
    plain("DCEvt", 18, Kind::Bits32),
];
