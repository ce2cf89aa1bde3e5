"""Twelve cases of the sample report; all texts are written by hand for this purpose, none is a patient's."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SampleCase:
    codes: tuple[str, ...]
    indication: str | None
    reference: str
    texts: dict[str, str]
    views: tuple[str, ...] = ("frontal",)


def _texts(sft: str, label: str, bertscore: str, null: str) -> dict[str, str]:
    return {"sft": sft, "dpo_label": label, "dpo_bertscore": bertscore, "null_pairs": null}


_CLEAR = "The lungs are clear. No pleural effusion or pneumothorax."
_NORMAL = "The heart is normal in size. The lungs are clear. There is no pleural effusion or pneumothorax."

CASES = (
    SampleCase(
        ("Cardiomegaly/moderate", "Pleural Effusion/right/small"),
        "Shortness of breath for a week.",
        "The heart is moderately enlarged. There is a small right pleural effusion. No pneumothorax is seen.",
        _texts(
            "The heart is normal in size. There is a small right pleural effusion. No pneumothorax.",
            "The heart is enlarged. There is a small right pleural effusion. No pneumothorax.",
            "The heart is normal in size and contour. There is a small right pleural effusion. No pneumothorax is seen."
            " The bony thorax is intact.",
            "The heart is normal in size. There is a small left pleural effusion. No pneumothorax.",
        ),
        ("frontal", "lateral"),
    ),
    SampleCase(
        ("normal",),
        "Positive skin test for tuberculosis.",
        "Heart size and mediastinal contours are normal. Both lungs are clear. No effusion, no pneumothorax.",
        _texts(_NORMAL, _NORMAL, f"{_NORMAL} The visualized bony structures are intact.", _CLEAR),
    ),
    SampleCase(
        ("Opacity/lung/lower lobe/left/patchy", "Infiltrate/lung/lower lobe/left"),
        "Cough and fever.",
        "Patchy opacity in the left lower lobe, suspicious for pneumonia. The heart is not enlarged.",
        _texts(
            f"The heart is normal in size. {_CLEAR}",
            "There is a patchy opacity in the left lower lobe. The heart is normal in size. No pleural effusion.",
            "The heart is normal in size. The lungs are clear. No pleural effusion or pneumothorax is seen.",
            "The heart is normal in size. There is an opacity in the right base. No pleural effusion.",
        ),
    ),
    SampleCase(
        ("Implanted Medical Device/left", "Cardiomegaly/mild"),
        "Follow-up of a pacemaker.",
        "A left chest pacemaker has leads in the right atrium and ventricle. The heart is mildly enlarged.",
        _texts(
            "A left-sided pacemaker is present. The heart is normal in size. The lungs are clear.",
            "A left-sided pacemaker is present. The heart is mildly enlarged. The lungs are clear.",
            "A left-sided pacemaker is present with leads in place. The heart is normal in size. The lungs are clear."
            " There is no pleural effusion.",
            "A left-sided pacemaker is present. The heart is mildly enlarged. The lungs are clear.",
        ),
    ),
    SampleCase(
        ("Pneumothorax/apex/left/small",),
        "Chest pain after a fall.",
        "There is a small left apical pneumothorax. No displaced rib fracture is seen. The right lung is clear.",
        _texts(
            _NORMAL,
            "There is a small left apical pneumothorax. The heart is normal in size. No pleural effusion.",
            "The heart is normal in size. The lungs are clear. There is no focal consolidation.",
            _NORMAL,
        ),
    ),
    SampleCase(
        ("Cardiomegaly", "Pulmonary Edema/interstitial", "Pleural Effusion/bilateral/small"),
        "Known heart failure, worse today.",
        "Cardiomegaly with interstitial pulmonary edema. Small pleural effusions on both sides.",
        _texts(
            "The heart is enlarged. There is mild vascular congestion. No pneumothorax.",
            "The heart is enlarged. There is interstitial edema. There are small bilateral pleural effusions.",
            "The heart is enlarged. There is mild vascular congestion. No pneumothorax. No focal airspace disease.",
            "The heart is enlarged. There is interstitial edema. No pneumothorax.",
        ),
        ("frontal", "lateral"),
    ),
    SampleCase(
        ("Lung/hyperdistention/mild",),
        "Smoker, before surgery.",
        "The lungs are hyperexpanded. There is no focal consolidation. The heart is normal in size.",
        _texts(
            "The lungs are hyperexpanded and clear. The heart is normal in size.",
            "The lungs are hyperexpanded and clear. The heart is normal in size. There is a nodule in the right lung.",
            "The lungs are hyperexpanded. There is no focal consolidation. The heart is normal in size. No effusion.",
            "The lungs are hyperexpanded and clear. The heart is normal in size.",
        ),
    ),
    SampleCase(
        ("Pulmonary Atelectasis/base/right/mild",),
        None,
        "Mild atelectasis at the right base. No effusion. The heart size is within normal limits.",
        _texts(
            "There is mild bibasilar atelectasis. The heart is normal in size.",
            "There is mild atelectasis at the right base. The heart is normal in size.",
            "The heart is normal in size. The lungs are clear without focal consolidation.",
            "There is mild bibasilar atelectasis. The heart is enlarged.",
        ),
    ),
    SampleCase(
        ("Nodule/lung/upper lobe/right/small",),
        "Weight loss.",
        "A small nodule projects over the right upper lobe. No effusion or pneumothorax.",
        _texts(
            _NORMAL,
            "There is a nodule in the right lung. No pleural effusion or pneumothorax.",
            f"{_NORMAL} No acute bony abnormality.",
            _NORMAL,
        ),
    ),
    SampleCase(
        ("Fractures, Bone/ribs/right/healed",),
        "Preoperative.",
        "Healed fractures of right ribs. The lungs are clear. The heart is not enlarged.",
        _texts(
            f"The heart is normal in size. {_CLEAR}",
            f"There are old right rib fractures. The heart is normal in size. {_CLEAR}",
            f"The heart is normal in size. {_CLEAR} The bones are intact.",
            f"The heart is normal in size. {_CLEAR}",
        ),
    ),
    SampleCase(
        ("Catheters, Indwelling/right", "Pleural Effusion/right/small"),
        "Line placement.",
        "A right central line ends in the superior vena cava. There is a small right effusion. No pneumothorax.",
        _texts(
            "A right-sided central venous catheter is present. No pneumothorax.",
            "A right-sided central venous catheter is present. There is a small right effusion. No pneumothorax.",
            "A right-sided central venous catheter is present. No pneumothorax. The heart is normal in size. "
            "The lungs are clear.",
            "A right-sided central venous catheter is present. No pneumothorax.",
        ),
    ),
    SampleCase(
        ("normal",),
        "Chest pain & <new> cough.",
        "The heart, mediastinum and lungs are normal. No effusion. No bony abnormality.",
        _texts(
            _NORMAL,
            "The heart is mildly enlarged. The lungs are clear. There is no pleural effusion or pneumothorax.",
            f"{_NORMAL} The bony structures are intact.",
            _NORMAL,
        ),
    ),
)
