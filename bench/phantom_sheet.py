"""Write a contact sheet of phantoms, three times enlarged: `python bench/phantom_sheet.py sheet.png lateral`."""

from __future__ import annotations

import sys
from pathlib import Path

from PIL import Image, ImageDraw

from chexalign.demo.phantom import render

ZOOM, SIZE_PX, CAPTION_PX, PER_ROW = 3, 128, 26, 5

CASES = [
    ["normal"],
    ["Cardiomegaly/mild"],
    ["Cardiomegaly/severe"],
    ["Pleural Effusion/bilateral/small"],
    ["Pleural Effusion/left/large"],
    ["Pneumothorax/apex/left/small"],
    ["Pneumothorax/right/large"],
    ["Opacity/lung/lower lobe/right/patchy"],
    ["Consolidation/lung/upper lobe/left"],
    ["Pneumonia/middle lobe/right"],
    ["Pulmonary Atelectasis/base/right/mild"],
    ["Pulmonary Edema/interstitial", "Cardiomegaly"],
    ["Pulmonary Congestion"],
    ["Nodule/lung/lower lobe/left/posterior"],
    ["Mass/lung/middle lobe/right"],
    ["Calcified Granuloma/lung/base/left/small"],
    ["Granulomatous Disease"],
    ["Lung/hyperdistention"],
    ["Lung/hypoinflation"],
    ["Pulmonary Emphysema/severe"],
    ["Implanted Medical Device/left"],
    ["Catheters, Indwelling/right"],
    ["Tube, Inserted/trachea, carina"],
    ["Surgical Instruments/mediastinum"],
    ["Surgical Instruments/abdomen/right"],
    ["Fractures, Bone/ribs/right/healed/multiple"],
    ["Scoliosis/moderate"],
    ["Thoracic Vertebrae/degenerative", "Osteophyte"],
    ["Spinal Fusion/thoracic vertebrae"],
    ["Hernia, Hiatal/large"],
    ["Aorta/tortuous"],
    ["Atherosclerosis/aorta", "Aorta/tortuous/mild"],
    ["Cicatrix/lung/apex/bilateral"],
    ["Diaphragm/right/elevated"],
    ["Markings/lung/bilateral/interstitial/diffuse"],
    ["Pulmonary Fibrosis/base/bilateral"],
    ["Thickening/pleura/apex/bilateral"],
    ["Costophrenic Angle/right/blunted"],
    ["Mediastinum/enlarged"],
    ["Lung/hilum/prominent"],
    ["Calcinosis/lung/hilum/lymph nodes/right"],
    ["Density/lung/upper lobe/right/round"],
    ["Opacity/lung/bilateral/interstitial/diffuse"],
    ["Airspace Disease/lung/base/left/severe"],
    ["Technical Quality of Image Unsatisfactory"],
]


def sheet(view: str, seed: int) -> Image.Image:
    cell, height = SIZE_PX * ZOOM, SIZE_PX * ZOOM + CAPTION_PX
    page = Image.new("L", (cell * PER_ROW, height * -(-len(CASES) // PER_ROW)))
    pen = ImageDraw.Draw(page)
    for k, codes in enumerate(CASES):
        x, y = cell * (k % PER_ROW), height * (k // PER_ROW)
        image = Image.fromarray(render(codes, view=view, seed=seed + k))
        page.paste(image.resize((cell, cell), Image.Resampling.BICUBIC), (x, y))
        pen.text((x + 4, y + cell + 6), "; ".join(codes), fill=255)
    return page


if __name__ == "__main__":
    target, view = Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "frontal"
    sheet(view, int(sys.argv[3]) if len(sys.argv) > 3 else 0).save(target)
