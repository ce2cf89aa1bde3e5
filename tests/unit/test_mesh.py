import pytest

from chexalign.data.mesh import labeler_half, labels_from_codes

CASES = [
    ([], set()),
    (["normal"], set()),
    (["No Indexing"], set()),
    (["Cardiomegaly/borderline"], {"Cardiomegaly"}),
    (["Cardiac Shadow/enlarged/mild"], {"Cardiomegaly"}),
    (["Cardiac Shadow/obscured"], set()),
    (["Mediastinum/prominent/mild"], {"Enlarged Cardiomediastinum"}),
    (["Opacity/lung/base/left"], {"Lung Opacity"}),
    (["Opacity/ribs/right"], set()),
    (["Opacity/lung/upper lobe/right/round/small"], {"Lung Opacity", "Lung Lesion"}),
    (["Markings/bronchovascular"], set()),
    (["Markings/lung/interstitial/chronic"], {"Lung Opacity"}),
    (["Lung/hypoinflation"], set()),
    (["Cicatrix/lung/apex/bilateral"], {"Lung Opacity"}),
    (["Cicatrix/pleura/right"], {"Pleural Other"}),
    (["Calcinosis/lung/upper lobe/right"], {"Lung Lesion"}),
    (["Calcinosis/lung/hilum/lymph nodes"], set()),
    (["Calcinosis/aorta"], set()),
    (["Nodule/lung/lingula"], {"Lung Lesion"}),
    (["Mass/breast/large"], set()),
    (["Pulmonary Congestion/mild"], {"Edema"}),
    (["Hydropneumothorax/right"], {"Pneumothorax", "Pleural Effusion"}),
    (["Costophrenic Angle/left/blunted"], {"Pleural Effusion"}),
    (["Costophrenic Angle/left/obscured"], set()),
    (["Thickening/pleura/apex"], {"Pleural Other"}),
    (["Deformity/thoracic vertebrae"], {"Fracture"}),
    (["Deformity/humerus/left"], set()),
    (["Spinal Fusion/cervical vertebrae"], {"Support Devices"}),
    (["Foreign Bodies/breast"], set()),
    (["PNEUMONIA / lower lobe / right", "consolidation"], {"Pneumonia", "Consolidation"}),
]


@pytest.mark.parametrize(("codes", "labels"), CASES)
def test_codes_give_labels(codes, labels):
    assert labels_from_codes(codes) == labels


def test_halves_are_fixed_and_nearly_equal():
    halves = [labeler_half(f"CXR{n}") for n in range(1, 2001)]
    assert 900 < halves.count("test") < 1100
    assert labeler_half("CXR1") == halves[0]
