import numpy as np
import pytest

from chexalign.judges.base import TextPair
from chexalign.judges.chexpert import FINDINGS, LABELS, CheXpertJudge, label, label_matrix, positives
from chexalign.judges.chexpert_rules import mentions, sentences

SHORT = {
    "ec": "Enlarged Cardiomediastinum",
    "cm": "Cardiomegaly",
    "op": "Lung Opacity",
    "le": "Lung Lesion",
    "ed": "Edema",
    "co": "Consolidation",
    "pn": "Pneumonia",
    "at": "Atelectasis",
    "px": "Pneumothorax",
    "pe": "Pleural Effusion",
    "po": "Pleural Other",
    "fr": "Fracture",
    "sd": "Support Devices",
}

# Text, then what it says: name for stated, -name for denied, ?name for uncertain. Nothing else may be mentioned.
SENTENCES = [
    # denial and lists
    ("No focal consolidation, effusion or pneumothorax.", "-co -pe -px"),
    ("No focal consolidation, pleural effusion, or pneumothorax is seen.", "-co -pe -px"),
    ("There is no evidence of pneumonia, edema, or a large effusion.", "-pn -ed -pe"),
    ("No pneumothorax or pleural effusion or consolidation.", "-px -pe -co"),
    ("Neither effusion nor pneumothorax.", "-pe -px"),
    ("The lungs are free of focal airspace disease.", "-op"),
    ("Lungs are clear of infiltrates, masses and effusions.", "-op -le -pe"),
    ("The lungs are clear without effusion or pneumothorax.", "-op -co -pe -px"),
    ("Negative for pneumothorax.", "-px"),
    ("No consolidation, mild edema, or pneumothorax.", "-co -ed -px"),
    ("Absence of pleural effusion.", "-pe"),
    ("No consolidation, suspicious opacity, or convincing effusion anywhere.", "-co -op -pe"),
    ("No evidence to suggest pneumonia.", "-pn"),
    ("No displaced rib fracture.", "-fr"),
    ("No acute osseous abnormality.", "-fr"),
    ("No acute bony findings.", "-fr"),
    ("No acute cardiopulmonary abnormality.", ""),
    ("No suspicious nodules or masses.", "-le"),
    ("Lack of consolidation.", "-co"),
    ("There is no effusion and no pneumothorax.", "-pe -px"),
    # denial after the finding
    ("Effusion is not seen.", "-pe"),
    ("A pneumothorax is no longer visible.", "-px"),
    ("Pneumothorax has resolved.", "-px"),
    ("The left effusion has completely resolved.", "-pe"),
    ("Interval resolution of the right pneumothorax.", "-px"),
    ("Effusion and pneumothorax are not identified.", "-pe -px"),
    ("Pneumonia has been ruled out.", "-pn"),
    ("Resolved pneumothorax.", "-px"),
    ("Pneumonia which is nearly resolved.", "pn"),
    ("The effusion is larger since chest tube removal.", "pe -sd"),
    ("Interval removal of the left PICC.", "-sd"),
    # words that only look like a denial
    ("No change in the effusion.", "pe"),
    ("No interval change in cardiomegaly.", "cm"),
    ("No significant change in the small left effusion.", "pe"),
    ("No interval increase in the right effusion.", "pe"),
    ("Without change, small left pneumothorax.", "px"),
    ("The effusion is not significantly changed.", "pe"),
    ("The effusion has not completely resolved.", "pe"),
    ("Not only atelectasis but consolidation is present.", "at co"),
    # where a denial ends
    ("No pneumothorax but a small effusion.", "-px pe"),
    ("No pneumothorax. Small effusion.", "-px pe"),
    ("No effusion; heart is enlarged.", "-pe cm"),
    ("No effusion, the heart is enlarged.", "-pe cm"),
    ("No pneumothorax, stable cardiomegaly.", "-px cm"),
    ("No consolidation, however there is bibasilar atelectasis.", "-co at"),
    ("No effusion except for minimal fluid in the fissure.", "-pe pe"),
    ("There is no pneumothorax and there is a right effusion.", "-px pe"),
    ("Cardiomegaly without edema.", "cm -ed"),
    ("Mild cardiomegaly with no effusion.", "cm -pe"),
    ("Left basilar atelectasis, no pneumothorax.", "at -px"),
    # uncertainty
    ("Left base opacity may represent pneumonia.", "op ?pn"),
    ("A small effusion cannot be excluded.", "?pe"),
    ("Cannot exclude a small pneumothorax.", "?px"),
    ("Possible left effusion.", "?pe"),
    ("Questionable nodule in the right apex.", "?le"),
    ("Opacity concerning for pneumonia.", "op ?pn"),
    ("Atelectasis versus consolidation.", "at ?co"),
    ("Streaky opacities suggest atelectasis.", "op ?at"),
    ("Probable scarring.", "?op"),
    ("Pneumonia is possible.", "?pn"),
    ("Findings suspicious for edema.", "?ed"),
    ("A rib fracture is suspected.", "?fr"),
    ("Infection not excluded.", "?pn"),
    ("The opacity is likely atelectasis.", "op ?at"),
    ("Small effusion?", "?pe"),
    ("Pneumonia is unlikely.", "-pn"),
    ("Effusion: none.", "-pe"),
    ("Opacity that was not seen on the prior study.", "op"),
    ("New consolidation, not present previously.", "co"),
    ("CT is advised to evaluate for pulmonary nodules.", ""),
    # heart and mediastinum
    ("Heart size is normal.", "-cm"),
    ("Heart size and mediastinal contours are within normal limits.", "-cm -ec"),
    ("Cardiomediastinal silhouette within normal limits.", "-cm -ec"),
    ("The cardiac silhouette is enlarged.", "cm"),
    ("The heart is mildly enlarged.", "cm"),
    ("The heart is not enlarged.", "-cm"),
    ("Increased heart size.", "cm"),
    ("Enlarged heart with a normal mediastinum.", "cm -ec"),
    ("Stable enlargement of the cardiac silhouette.", "cm"),
    ("The heart is borderline in size.", "?cm"),
    ("Borderline enlarged heart.", "?cm"),
    ("Borderline cardiomegaly.", "?cm"),
    ("Heart size is at the upper limits of normal.", "-cm"),
    ("The heart is top normal in size.", "-cm"),
    ("Mediastinal widening.", "ec"),
    ("The mediastinum is widened.", "ec"),
    ("No mediastinal widening.", "-ec"),
    ("The aorta is enlarged and tortuous.", ""),
    ("Heart size is normal and the aorta is dilated.", "-cm"),
    ("Normal heart size. Prominent hilar contours.", "-cm"),
    ("Enlarged mediastinal lymph nodes.", ""),
    ("The cardiomediastinal silhouette is enlarged.", "cm ec"),
    ("Cardiac silhouette: normal.", "-cm"),
    ("The heart is normal, and the effusion has increased.", "-cm pe"),
    # lungs
    ("Lungs are clear.", "-op -co"),
    ("Calcified granuloma in the left lung.", "le"),
    ("Scarring in the right apex.", "op"),
    ("Lungs are hypoinflated.", ""),
    ("Low lung volumes with bronchovascular crowding.", ""),
    ("Low lung volumes with basilar atelectasis.", "at"),
    ("Nodular opacity in the lingula.", "op le"),
    ("Pulmonary vascular congestion.", "ed"),
    ("Pulmonary vascularity is normal.", "-ed"),
    ("Mild vascular prominence.", "ed"),
    ("Engorgement of the pulmonary vessels.", "ed"),
    ("Pulmonary vascular engorgement appears within normal limits.", "-ed"),
    ("The pulmonary vasculature is prominent.", "ed"),
    ("Interstitial markings are increased.", "op"),
    ("Right upper lobe volume loss.", "at"),
    ("Right lower lobe consolidation consistent with pneumonia.", "co pn"),
    ("Pericardial effusion.", ""),
    ("Nipple shadows.", ""),
    # pleura
    ("Blunting of the left costophrenic angle.", "?pe"),
    ("The costophrenic angles are sharp.", "-pe"),
    ("No blunting of the costophrenic angles.", "-pe"),
    ("Biapical pleural thickening.", "po"),
    ("Pleural plaques.", "po"),
    ("Right hydropneumothorax.", "px pe"),
    # bones and devices
    ("Old healed rib fracture.", "fr"),
    ("Compression deformity of T8.", "?fr"),
    ("Visualized bony structures are intact.", "-fr"),
    ("Osseous lesion of the scapula.", ""),
    ("Right PICC with tip in the SVC.", "sd"),
    ("Dual lead pacemaker.", "sd"),
    ("Sternotomy wires are intact.", "sd"),
    ("Surgical clips in the right upper quadrant.", "sd"),
    ("The chest tube has been removed.", "-sd"),
    ("Removal of the endotracheal tube.", "-sd"),
    ("Left chest tube with no pneumothorax.", "sd -px"),
    ("Fractured sternotomy wire.", "sd"),
    # de-identified tokens
    ("No XXXX pleural effusion or XXXX.", "-pe"),
    ("XXXX sternotomy XXXX are intact.", "sd"),
    ("Blunted right costophrenic XXXX.", "?pe"),
    # no punctuation, broken and repeated
    ("no pleural effusion or pneumothorax the heart is enlarged", "-pe -px cm"),
    (
        "the heart is normal in size the lungs are clear no focal consolidation effusion or pneumothorax",
        "-cm -op -co -pe -px",
    ),
    ("heart size normal no effusion stable cardiomegaly", "-cm -pe cm"),
    ("no pneumothorax there is a small effusion", "-px pe"),
    ("no effusion heart enlarged", "-pe cm"),
    ("no acute bony abnormality calcified granuloma in the right lung", "-fr le"),
    ("no effusion or cardiac enlargement", "-pe -cm"),
    ("no effusion no effusion no effusion no", "-pe"),
    ("the the the lungs lungs clear clear", "-op -co"),
    ("cardiomegaly is present lungs are clear", "cm -op -co"),
    ("or and no , . ; the", ""),
]


def read(spec: str) -> dict[str, int]:
    """The strongest of what the short notation says of each label."""
    out: dict[str, int] = {}
    for word in spec.split():
        value = {"-": 0, "?": -1}.get(word[0], 1)
        name = SHORT[word.lstrip("-?")]
        out[name] = max(out.get(name, 0), value, key=(0, -1, 1).index)
    return out


@pytest.mark.parametrize(("text", "spec"), SENTENCES)
def test_sentence(text, spec):
    found = {name: value for name, value in label(text).items() if value is not None and name != "No Finding"}
    assert found == read(spec)


def test_there_are_enough_sentences():
    assert len(SENTENCES) >= 80
    assert len(LABELS) == 14
    assert LABELS[:-1] == FINDINGS


def test_no_finding_rule():
    assert label("Lungs are clear.")["No Finding"] == 1
    assert label("Lungs are clear. PICC in place.")["No Finding"] == 1
    assert label("Possible effusion.")["No Finding"] is None
    assert label("")["No Finding"] is None
    assert positives("Lungs are clear.") == {"No Finding"}


def test_strongest_mention_counts():
    assert label("No effusion. Possible effusion. No effusion.")["Pleural Effusion"] == -1
    assert label("Possible effusion. Effusion.")["Pleural Effusion"] == 1


def test_a_wrapped_line_does_not_end_a_sentence():
    assert label("No focal\nconsolidation.")["Consolidation"] == 0
    assert label("No effusion\n\nConsolidation")["Consolidation"] == 1
    assert label("- no effusion\n- consolidation")["Consolidation"] == 1
    assert sentences("A 1.5 cm nodule. Next [x] **one**") == ["a 1.5 cm nodule", "next one"]


def test_label_matrix():
    table = label_matrix(["Cardiomegaly.", "No effusion.", ""])
    assert table.shape == (3, 14)
    assert table.dtype == np.bool_
    assert table[0].nonzero()[0].tolist() == [LABELS.index("Cardiomegaly")]
    assert table[1].nonzero()[0].tolist() == [LABELS.index("No Finding")]
    assert not table[2].any()
    assert label_matrix([]).shape == (0, 14)


def test_mentions_keep_their_order():
    assert mentions("no effusion but cardiomegaly") == (("Pleural Effusion", 0), ("Cardiomegaly", 1))


def test_judge():
    judge = CheXpertJudge()
    pairs = [
        TextPair("Cardiomegaly. Small effusion.", "Cardiomegaly. Edema."),
        TextPair("Lungs are clear.", "No acute disease."),
        TextPair("Lungs are clear.", "Effusion."),
        TextPair("", "Lungs are clear."),
        TextPair("Effusion.", " "),
    ]
    first, both_normal, missed, empty, no_reference = judge.score(pairs)
    assert first.value == 0.5
    assert first.parts == {"tp": 1.0, "fp": 1.0, "fn": 1.0, "n_candidate": 2.0, "n_reference": 2.0}
    assert both_normal.value == 1.0
    assert missed.value == 0.0
    assert (empty.value, empty.status) == (0.0, "ok")
    assert (no_reference.value, no_reference.status) == (None, "error")
    assert set(judge.describe) == {"license", "needs", "cost"}
