"""How the page looks: system fonts, one calm colour, nothing fetched."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLE = Path(__file__).with_name("style.css")
SCRIPT = Path(__file__).with_name("page.js")
_TEAL = gr.themes.Color(
    name="profactory",
    c50="#eefaf7",
    c100="#d5f1ea",
    c200="#aee3d7",
    c300="#7bcdbe",
    c400="#48b0a0",
    c500="#269485",
    c600="#14776b",
    c700="#125f57",
    c800="#124c47",
    c900="#123f3c",
    c950="#042524",
)
_FONTS = [
    "system-ui",
    "-apple-system",
    "Segoe UI",
    "Roboto",
    "Helvetica Neue",
    "Noto Sans",
    "PingFang SC",
    "Microsoft YaHei",
    "Noto Sans CJK SC",
    "sans-serif",
]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "DejaVu Sans Mono", "monospace"]


def make_theme() -> gr.themes.Base:
    """Return the theme of the page."""
    theme = gr.themes.Base(
        primary_hue=_TEAL,
        secondary_hue=_TEAL,
        neutral_hue=gr.themes.colors.slate,
        text_size=gr.themes.sizes.text_md,
        spacing_size=gr.themes.sizes.spacing_md,
        radius_size=gr.themes.sizes.radius_md,
        font=_FONTS,
        font_mono=_MONO,
    )
    return theme.set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_background_fill="white",
        block_border_width="1px",
        block_border_color="*neutral_200",
        block_label_text_weight="500",
        block_title_text_weight="500",
        block_shadow="none",
        input_background_fill="white",
        input_border_width="1px",
        input_radius="8px",
        block_radius="10px",
        block_info_text_color="*neutral_500",
        block_padding="12px 14px",
        layout_gap="12px",
        form_gap_width="0px",
        input_border_color="*neutral_300",
        input_border_color_focus="*primary_500",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
        button_border_width="1px",
        button_secondary_background_fill="white",
        button_secondary_background_fill_hover="*neutral_100",
        button_secondary_border_color="*neutral_300",
        button_large_text_weight="600",
        button_cancel_background_fill="#b42318",
        button_cancel_background_fill_hover="#8f1c13",
        button_cancel_border_color="#b42318",
        button_cancel_text_color="white",
    )
