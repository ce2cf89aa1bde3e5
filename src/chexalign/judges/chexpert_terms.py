"""The words that the rule labeler knows: findings, what a finding is said about, and what turns its meaning.

Every entry is a regular expression over lower-case text in which `-` and `/` are blanks; it matches whole words.
Entries of one list are tried in order, and lists in the order of `EVENT`: the longer phrase stands first.
"""

from __future__ import annotations

import re

LABELS: tuple[str, ...] = (
    "Enlarged Cardiomediastinum",
    "Cardiomegaly",
    "Lung Opacity",
    "Lung Lesion",
    "Edema",
    "Consolidation",
    "Pneumonia",
    "Atelectasis",
    "Pneumothorax",
    "Pleural Effusion",
    "Pleural Other",
    "Fracture",
    "Support Devices",
    "No Finding",
)

# Words that look like a finding or a cue and are none.
IGNORED = (
    r"(?:no|without)(?: (?:evidence of|significant|significantly|interval|appreciable|"
    r"substantial|definite|acute|xxxx|new|"
    r"major|obvious|other|further|gross|short term))* (?:change|changes|increase|decrease|"
    r"improvement|worsening|progression)",
    r"not (?:\w+ ){0,2}(?:changed|increased|decreased|improved|worsened)",
    r"(?:no|without)(?: \w+)?(?: prior| previous| comparison| old)(?: \w+)? ?(?:studies|study|"
    r"exams?|films?|images|comparison|available)",
    r"not only",
    r"not (?:\w+ )?(?:seen|present|visible|evident|identified) "
    r"(?:\w+ ){0,3}(?:prior|previous|previously|earlier|before|yesterday)",
    r"to suggest",
    r"(?:not|incompletely|partially|nearly|almost|near)(?: \w+)? (?:resolved|cleared)",
    r"(?:consistent|compatible|associated|correlat\w+|along) with",
    r"pericardial (?:effusions?|fluid)",
    r"mass effect",
    r"nipple shadows?",
    r"(?:breast|soft tissue|abdominal) (?:mass(?:es)?|nodul\w+|densit\w+|opacit\w+)",
    r"(?:decreased |increased )?(?:bone|bony|osseous|mineral|metallic|metal|soft tissue|rib|"
    r"vertebral) (?:mineral )?(?:densit\w+|opacit\w+)",
    r"(?:bone|bony|osseous|lytic|sclerotic|blastic) lesions?",
    r"bronchovascular (?:crowding|markings?)",
    r"(?:hilar|perihilar|mediastinal|paratracheal|calcified|enlarged)(?: (?:and|or) (?:hilar|"
    r"mediastinal))? (?:lymph|nodes|adenopathy|lymphadenopathy|vessels)",
    r"mediastinal (?:clips|wires|drains?|tubes?|fat|lipomatosis)",
    r"surgical (?:absence|resection)",
)

FINDINGS: dict[str, tuple[str, ...]] = {
    "Enlarged Cardiomediastinum": (
        r"mediastinal mass(?:es)?",
        r"mediastinal shift",
        r"shift of the (?:\w+ )?mediastin\w+",
    ),
    "Cardiomegaly": (
        r"cardiomegal\w*",
        r"large heart",
        r"(?:heart|silhouette)(?: size)? (?:is|appears|remains) (?:\w+ )?large",
    ),
    "Pneumothorax+Pleural Effusion": (r"hydro ?pneumothora\w+", r"hemo ?pneumothora\w+"),
    "Pleural Other": (
        r"pleural(?: (?:based|parenchymal|and|or|apical|parenchymal))* (?:\w+ )?(?:thickening|"
        r"scar\w*|plaques?|calcifi\w+|reaction)"
        r"(?: (?:or|and|versus|vs)? ?scar\w*)?",
        r"pleuro ?parenchymal scar\w*",
        r"(?:thickening|scar\w*|calcifi\w+|plaques?) (?:of|along|in) (?:the )?(?:\w+ ){0,2}pleura\w*",
        r"(?:bi)?apical (?:\w+ )?(?:cap\w*|thickening)",
        r"fissural thickening",
        r"thickening (?:of|along|in) (?:the )?(?:\w+ ){0,2}fissures?",
        r"fibrothora\w+",
    ),
    "Pleural Effusion": (
        r"(?:pleural )?effusions?",
        r"pleural (?:fluid|collection)\w*",
        r"fluid (?:in|within|along) (?:the )?(?:\w+ ){0,2}(?:fissures?|pleural\w*)",
        r"(?:hydro|hemo)thora\w+",
        r"empyema",
    ),
    "Pneumothorax": (r"pneumothora\w+", r"ptx"),
    "Edema": (
        r"edema",
        r"heart failure",
        r"chf",
        r"(?:vascular|venous|pulmonary|central|hilar) (?:\w+ )?(?:congestion|engorgement|redistribution|cephalization)",
        r"congest(?:ion|ive)(?: changes?)?",
        r"cephalization",
        r"kerley",
        r"indistinct (?:\w+ )?vascul\w*",
        r"vascular indistinctness",
        r"fluid overload",
        r"volume overload",
    ),
    "Consolidation": (r"consolidat\w+",),
    "Pneumonia": (r"(?:broncho)?pneumoni[ac]s?", r"pneumonitis", r"infectio\w+"),
    "Atelectasis": (
        r"atelecta\w+",
        r"volume loss",
        r"loss of (?:\w+ )?volume",
        r"(?:lung|lobe|lobar|segmental|lingular?|pulmonary) collapse",
        r"collapse of (?:the )?(?:\w+ ){0,3}(?:lobes?|lung|lingula)",
        r"collapsed (?:\w+ )?(?:lobe|lung)",
    ),
    "Lung Lesion": (
        r"nodul\w+",
        r"mass(?:es)?",
        r"granuloma\w*",
        r"(?:lung|pulmonary|parenchymal|cavitary|nodular|suspicious) lesions?",
        r"cavit(?:y|ies|ary|ation)\w*",
        r"(?:neoplas|malignan|metasta|carcinom)\w+",
        r"tumou?rs?",
        r"calci(?:fied|fic) (?:\w+ )?densit(?:y|ies)",
    ),
    "Support Devices": (
        r"(?:screws?|wires?|leads?|catheters?|hardware)(?: is| are)?(?: \w+)? fractur\w+",
        r"fractur\w+ (?:of (?:the )?)?(?:\w+ ){0,4}(?:screws?|wires?|leads?|sternotomy|hardware|catheters?)",
        r"tips? (?:\w+ ){0,6}(?:svc|caval|cavoatrial|cava|atri\w+|carina|stomach)",
        r"(?:port|xxxx) a (?:cath|xxxx)|surgical xxxx|ivc xxxx",
        r"shunts?|tubing|anchors?|(?:internal |screw )?fixation|occluders?|intubat\w+",
        r"(?:picc|central venous|central|venous|subclavian|jugular|ij|arterial|femoral|dialysis|"
        r"support|infusion|midline|iv)"
        r"(?: \w+)? lines?",
        r"picc",
        r"lines and tubes",
        r"(?:vas|porta|perma)cath\w*|port ?a ?cath\w*|mediports?|ports?",
        r"catheters?",
        r"tubes?|ett|tracheostomy|pigtail|drains?",
        r"pacemakers?|pacers?|pacing|aicd|icd|defibrillators?|leads",
        r"sternotomy|wires?|clips?|staples?|sutures?|hardware|screws?|rods?",
        r"prosthe\w+|arthroplast\w+|stents?|implants?|coils|swan ganz|balloon pump|iabp|lvad",
        r"(?:ivc|caval?|vena cava) filter",
        r"valv\w* (?:replacement|prosthes\w+|repair)|(?:artificial|mechanical|replaced) (?:\w+ )?valves?",
        r"(?:spinal|spine|cervical|lumbar|anterior|posterior) (?:\w+ )?fusion",
        r"(?:medical |support |implanted |pacing |monitoring )?devices?|stimulators?|generators?|support apparatus",
    ),
    "Fracture": (r"fractur\w+", r"broken"),
    "Lung Opacity": (
        r"opaci(?:ty|ties|fi\w+)",
        r"infiltrat\w+",
        r"air ?space (?:disease|process|abnormalit\w+)\w*",
        r"densit(?:y|ies)",
        r"(?:increased |prominent |coarse\w* |chronic )*interstitial (?:lung )?(?:\w+ "
        r")?(?:markings?|disease|pattern|prominence|changes|thickening|abnormalit\w+|process)",
        r"interstitial (?:markings?|disease|prominence|changes|thickening)",
        r"(?:prominen\w+|thickening|coarsening) of (?:the )?(?:\w+ )?(?:interstitium|interstitial markings)",
        r"interstitium (?:is|appears) (?:\w+ )?prominent",
        r"reticul\w+",
        r"fibro(?:sis|tic)",
        r"scar(?:s|ring|red)?",
        r"haz(?:e|y|iness)",
        r"honeycombing",
    ),
}

# A finding that is stated by its sign alone, so it counts as uncertain unless it is denied.
SIGNS: dict[str, tuple[str, ...]] = {
    "Fracture": (
        r"compression (?:deformit\w+|wedging)",
        r"(?:xxxx|old|chronic|stable) deformit\w+ (?:of|in|within|involving|at) (?:the )?(?:\w+ "
        r"){0,3}(?:spine|junction|[tl]\d+)",
        r"deformed (?:\w+ )?(?:ribs?|clavic\w+|vertebra\w*)",
        r"(?:wedge|wedging|wedged)(?: \w+)?(?: deformit\w+)?",
        r"(?:loss of|decreased) (?:\w+ )?(?:vertebral|height)(?: body)?(?: height)?",
        r"(?:rib|clavic\w+|vertebra\w*|body|sternal|thoracic|lumbar) (?:\w+ )?deformit\w+",
        r"deformit\w+ (?:of|in|within|involving|at) (?:the )?(?:\w+ ){0,4}(?:ribs?|clavic\w+|"
        r"vertebra\w*|bod(?:y|ies)|sternum|spine)",
    ),
}

# Read as a statement about fractures only when it is denied: "no acute bony abnormality".
DENIED_ONLY: dict[str, tuple[str, ...]] = {
    "Fracture": (
        r"(?:osseous|bony|bone|skeletal) (?:\w+ ){0,2}(?:abnormalit\w+|findings?|injur\w+|process\w*|trauma)",
    ),
    "Pneumonia": (r"(?:acute )?infectious process",),
}

SUBJECTS: dict[str, tuple[str, ...]] = {
    "both": (r"cardio ?mediastin\w+(?: silhouettes?| contours?| shadows?| structures)?",),
    "vessels": (
        r"(?:pulmonary |central |peripheral )*(?:vascular(?:ity| markings| pattern| structures)|"
        r"vasculature|(?:pulmonary |lung )?vessels)",
        r"vascular(?= (?:prominence|fullness))",
    ),
    "other": (
        r"aort\w*",
        r"(?:pulmonary|main) arter\w+",
        r"hil(?:um|a|ar)(?: contours?| structures?)?",
        r"azygos|esophag\w+|stomach|thyroid|trachea\w*|lymph|diaphragm\w*|hernia",
    ),
    "heart": (
        r"(?:heart|cardiac|cardiopericardial|cardiovascular)(?: (?:size|silhouettes?|shadows?|contours?|xxxx))*",
        r"(?:left|right) (?:atri\w+|ventric\w+)",
    ),
    "mediastinum": (
        r"(?:superior |upper )?mediastin\w+(?: silhouettes?| contours?| shadows?| structures?)?",
        r"paratracheal(?: stripe| soft tissues?)?",
    ),
    "angle": (
        r"costophrenic(?: \w+)? ?(?:angles?|sulc\w+|recess\w*)?",
        r"(?:cp|cardiophrenic) angles?",
        r"sulc(?:us|i)",
    ),
    "lungs": (r"lungs?(?: fields?| bases?| parenchyma)?",),
    "pleura": (r"pleura\w*",),
    "bones": (
        r"osseous(?: structures?)?|bon(?:y|es)(?: structures?| thorax)?|skeletal structures?|"
        r"ribs?|vertebra\w*|thoracic cage",
    ),
}

ATTRIBUTES: dict[str, tuple[str, ...]] = {
    "borderline": (r"borderline", r"mildly prominent"),
    "normal": (
        r"upper (?:limits?|range)(?: of)?(?: the)?(?: normal)?",
        r"(?:upper|top|high) (?:limits? )?(?:of )?normal",
        r"normal\w*",
        r"unremarkable",
        r"not enlarged",
        r"sharp",
        r"intact",
    ),
    "enlarged": (r"enlarg\w+", r"widen\w*", r"dilat\w+"),
    "increased": (r"increased?",),
    "prominent": (r"prominen\w+", r"congested", r"engorge[dm]\w*", r"indistinct\w*", r"full\w*"),
    "blunted": (r"blunt\w+",),
    "clear": (r"clear",),
    "thick": (r"thicken\w+",),
}

# What an attribute of a subject states: (label, value) pairs.
STATEMENTS: dict[tuple[str, str], tuple[tuple[str, int], ...]] = {
    ("heart", "normal"): (("Cardiomegaly", 0),),
    ("heart", "enlarged"): (("Cardiomegaly", 1),),
    ("heart", "increased"): (("Cardiomegaly", 1),),
    ("heart", "prominent"): (("Cardiomegaly", -1),),
    ("heart", "borderline"): (("Cardiomegaly", -1),),
    ("mediastinum", "normal"): (("Enlarged Cardiomediastinum", 0),),
    ("mediastinum", "clear"): (("Enlarged Cardiomediastinum", 0),),
    ("mediastinum", "enlarged"): (("Enlarged Cardiomediastinum", 1),),
    ("mediastinum", "prominent"): (("Enlarged Cardiomediastinum", 1),),
    ("mediastinum", "borderline"): (("Enlarged Cardiomediastinum", -1),),
    ("both", "normal"): (("Cardiomegaly", 0), ("Enlarged Cardiomediastinum", 0)),
    ("both", "enlarged"): (("Cardiomegaly", 1), ("Enlarged Cardiomediastinum", 1)),
    ("both", "increased"): (("Cardiomegaly", 1), ("Enlarged Cardiomediastinum", 1)),
    ("both", "prominent"): (("Cardiomegaly", -1), ("Enlarged Cardiomediastinum", 1)),
    ("both", "borderline"): (("Cardiomegaly", -1), ("Enlarged Cardiomediastinum", -1)),
    ("vessels", "normal"): (("Edema", 0),),
    ("vessels", "clear"): (("Edema", 0),),
    ("vessels", "enlarged"): (("Edema", 1),),
    ("vessels", "increased"): (("Edema", 1),),
    ("vessels", "prominent"): (("Edema", 1),),
    ("vessels", "borderline"): (("Edema", -1),),
    ("lungs", "clear"): (("Lung Opacity", 0), ("Consolidation", 0)),
    ("lungs", "normal"): (("Lung Opacity", 0), ("Consolidation", 0)),
    ("angle", "blunted"): (("Pleural Effusion", -1),),
    ("angle", "normal"): (("Pleural Effusion", 0),),
    ("angle", "clear"): (("Pleural Effusion", 0),),
    ("pleura", "thick"): (("Pleural Other", 1),),
    ("bones", "normal"): (("Fracture", 0),),
}

_SEEN = (
    r"(?:seen|identified|present|evident|visuali[sz]ed|noted|appreciated|demonstrated|detected|apparent|visible|found"
    r"|suspected|observed)"
)
_NOT_BEFORE = r"(?! (?:\w+ ){0,3}(?:prior|previous|previously|earlier|before|yesterday))"
_BE = r"(?:is|are|was|were|has|have|had|being|been|be)"

CUES: dict[str, tuple[str, ...]] = {
    "hypothetical": (
        r"(?:evaluat\w+|assess\w*|search\w*|screen\w*|sensitive) (?:for|in)(?: detecting| identifying)?",
        r"to (?:identify|detect|evaluate|assess)",
        r"if (?:there is )?(?:\w+ )?(?:concern|suspicion)(?: for| of)?",
    ),
    "within_limits": (
        r"(?:(?:is|are|appears?|remains?) )?(?:\w+ )?within (?:the )?(?:normal (?:limits|range)|limits of normal)",
    ),
    "uncertain_after": (
        r"(?:can ?not|could not|can't|not)(?: \w+)? (?:be )?(?:\w+ )?(?:excluded|ruled out|discounted)",
        r"(?:is|are|remains?) (?:\w+ )?(?:(?:possible|likely)(?=$|,| but | given | with )"
        r"|suspected|questioned|considered|a possibility|difficult to exclude)",
        r"not entirely excluded",
    ),
    "uncertain": (
        r"(?:can ?not|could not|can't|not|difficult to|to)(?: \w+)? (?:exclude|rule out|discount)",
        r"may|might|could|possibl[ey]|possibility|probabl[ey]|likely|perhaps|presumably|equivocal",
        r"suggest\w*|concern\w*|suspicious (?:for|of)|suspicion|suspect\w*|question\w*|worrisome|"
        r"favou?r\w*|versus|vs|suspected|differential|rule out|r o",
    ),
    "absent_after": (
        rf"{_BE}? ?(?:not|no longer|never)(?: \w+){{0,2}} {_SEEN}{_NOT_BEFORE}",
        rf"{_BE}(?: (?!not|near|almost|partial|incomplete)\w+){{0,2}} (?:resolved|cleared|removed|"
        rf"absent|excluded|ruled out|withdrawn|extubated)",
        r"(?:has|have) (?:\w+ )?disappeared",
        rf"not seen{_NOT_BEFORE}",
        r"is negative",
        r"(?:is|are|seems?|appears?) (?:\w+ )?unlikely",
    ),
    "gone": (r"resolved|removed|cleared|removal(?! of)|none|unlikely",),
    "absent": (
        r"no|not|nor|without|neither|never|denies|negative for|free (?:of|from)|clear (?:of|from)|"
        r"absen(?:ce|t)(?: of)?",
        r"(?:interval |complete |near complete )*(?:resolution|clearing|clearance|disappearance|"
        r"removal(?= of))(?: of)?",
        r"rather than|lack of|fails? to",
    ),
    "break": (
        r"but|however|although|though|except(?: for)?|aside from|apart from|other than|otherwise|"
        r"exception|whereas|while|yet|instead",
        r"there (?:is|are|was|were|has|have)(?: been)?|again (?:seen|noted|demonstrated)|secondary to|due to",
        r"since|after|following|status post|which|because|showing|demonstrating",
    ),
    "soft_break": (r"with|and the|also|redemonstrat\w+",),
    "fresh": (
        r"stable|unchanged|mild(?:ly)?|moderate(?:ly)?|small|old|healed|chronic|minimal(?:ly)?|"
        r"left|right|bilateral|bibasilar"
        r"|basilar|low|calcified|scattered|multiple|persistent|degenerative|remote|tortuous|streaky|patchy|hyper\w+",
    ),
    "verb": (rf"{_BE}|remains?|appears?|demonstrates?|shows?|measures?",),
    "comma": (r",",),
}


def _join(fragments: tuple[str, ...]) -> str:
    return "|".join(fragments)


def _group(prefix: str, table: dict[str, tuple[str, ...]], names: dict[str, tuple[str, str]]) -> list[str]:
    out = []
    for key, fragments in table.items():
        group = f"g{len(names)}"
        names[group] = (prefix, key)
        out.append(f"(?P<{group}>{_join(fragments)})")
    return out


def _compile() -> tuple[re.Pattern[str], dict[str, tuple[str, str]]]:
    names: dict[str, tuple[str, str]] = {}
    cues = {key: CUES[key] for key in ("hypothetical", "within_limits", "uncertain_after", "uncertain", "absent_after")}
    late = {key: value for key, value in CUES.items() if key not in cues and key != "comma"}
    branches = [
        *_group("ignored", {"": IGNORED}, names),
        *_group("cue", cues, names),
        *_group("sign", SIGNS, names),
        *_group("denied_only", DENIED_ONLY, names),
        *_group("finding", FINDINGS, names),
        *_group("subject", SUBJECTS, names),
        *_group("cue", {"absent": (r"clear (?:of|from)",)}, names),
        *_group("attribute", ATTRIBUTES, names),
        *_group("cue", late, names),
    ]
    comma = _group("cue", {"comma": CUES["comma"]}, names)
    return re.compile(rf"(?<![a-z0-9])(?:{'|'.join(branches)})(?![a-z0-9])|{comma[0]}"), names


EVENT, EVENT_NAMES = _compile()  # one pass over a sentence; the name of the matching group says what was met
