"""What a DICOM header gives away, told by the names of its fields and never by their values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from chexalign import atomic
from chexalign.types import ImageRef

Stated = Literal["yes", "no", "not stated"]

PRIVATE = "private elements"
OVERLAYS = "overlays"

# Fields of PS3.15, table E.1-1, by which a person, a place or an examination can be found.
_FIELDS = (
    "PatientName PatientID IssuerOfPatientID OtherPatientIDs OtherPatientIDsSequence OtherPatientNames",
    "PatientBirthName PatientMotherBirthName PatientBirthDate PatientBirthTime PatientAddress",
    "PatientTelephoneNumbers PatientTelecomInformation PatientInsurancePlanCodeSequence MilitaryRank",
    "BranchOfService CountryOfResidence RegionOfResidence MedicalRecordLocator EthnicGroup Occupation",
    "PatientReligiousPreference PatientComments AdditionalPatientHistory ResponsiblePerson",
    "ResponsibleOrganization",
    "AdmissionID AccessionNumber StudyID StudyDate SeriesDate AcquisitionDate ContentDate AcquisitionDateTime",
    "InstitutionName InstitutionAddress InstitutionalDepartmentName InstitutionCodeSequence StationName",
    "DeviceSerialNumber DetectorID PlateID",
    "ReferringPhysicianName ReferringPhysicianAddress ReferringPhysicianTelephoneNumbers",
    "ReferringPhysicianIdentificationSequence ConsultingPhysicianName PhysiciansOfRecord PerformingPhysicianName",
    "NameOfPhysiciansReadingStudy RequestingPhysician RequestingService RequestAttributesSequence",
    "ScheduledPerformingPhysicianName OperatorsName ImageComments StudyComments",
)
IDENTIFYING = frozenset(name for line in _FIELDS for name in line.split())


@dataclass(frozen=True, slots=True)
class Header:
    """What the header of one image says of privacy."""

    burned_in: Stated  # text in the pixels (BurnedInAnnotation)
    identity_removed: Stated  # PatientIdentityRemoved
    identifying: tuple[str, ...]  # names of the fields that are filled; a pseudonym fills one as a name does


def read_header(dataset: Any) -> Header:
    """The header of a dataset, nested sequences included."""
    return Header(
        burned_in=_stated(dataset.get("BurnedInAnnotation")),
        identity_removed=_stated(dataset.get("PatientIdentityRemoved")),
        identifying=tuple(sorted(set(_filled(dataset)))),
    )


def _stated(value: Any) -> Stated:
    word = str(value or "").strip().upper()
    return "yes" if word == "YES" else "no" if word == "NO" else "not stated"


def _filled(dataset: Any) -> Iterator[str]:
    for element in dataset.iterall():
        if element.tag.is_private:
            yield PRIVATE
        elif element.tag.group >> 8 == 0x60:
            yield OVERLAYS
        elif element.keyword in IDENTIFYING and not element.is_empty and str(element.value).strip():
            yield element.keyword


def save_header(header: Header, image: Path) -> None:
    """Writes the header beside the image that was decoded from its file."""
    atomic.write_json(_beside(image), asdict(header))


def _beside(image: Path) -> Path:
    return image.with_suffix(".json")


@dataclass(frozen=True, slots=True)
class HeaderCounts:
    """How many DICOM images say what; nothing of a single one."""

    images: int
    burned_in: dict[str, int]
    identity_removed: dict[str, int]
    identifying: dict[str, int]  # images in which the field is filled

    def lines(self) -> list[str]:
        """The counts in words, nothing where there is no DICOM image."""
        if not self.images:
            return []
        text = (
            f"DICOM: of {self.images:,} images {self.burned_in.get('yes', 0):,} are said to have text in their pixels"
        )
        text += f", {self.burned_in.get('not stated', 0):,} do not say; "
        text += f"{self.identity_removed.get('yes', 0):,} are said to be de-identified"
        fields = ", ".join(f"{name} {n:,}" for name, n in sorted(self.identifying.items(), key=lambda i: (-i[1], i[0])))
        return [text, f"DICOM: header fields that are filled (in how many images): {fields or 'none'}; none is copied"]


def count_headers(run: Path, images: Iterable[ImageRef]) -> HeaderCounts:
    """The counts over the images of a run's studies that were decoded from DICOM files, each file once.

    Cost: one small file per such image.
    """
    decoded = sorted({image.path for image in images if not Path(image.path).is_absolute()})
    saved = (_beside(run / path) for path in decoded)
    return counted(Header(**atomic.read_json(path)) for path in saved if path.is_file())


def counted(headers: Iterable[Header]) -> HeaderCounts:
    """The counts over headers."""
    n, burned_in, removed, identifying = 0, Counter[str](), Counter[str](), Counter[str]()
    for header in headers:
        n += 1
        burned_in[header.burned_in] += 1
        removed[header.identity_removed] += 1
        identifying.update(header.identifying)
    return HeaderCounts(n, dict(burned_in), dict(removed), dict(identifying))
