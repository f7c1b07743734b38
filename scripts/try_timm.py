"""Say of networks of timm's, with random weights, whether CAM is exact on them: a CSV.

    python scripts/try_timm.py NAME ... > results/benchmarks/timm-architectures.csv

Without names it takes one or more of each family below.
"""

import csv
import sys

import timm

from cam_repro.models.timm import Timm

NAMES = """
resnet50 resnet18d resnext50_32x4d seresnet50 wide_resnet50_2 resnetv2_50 resnetblur50 resnet50_gn
cspresnet50 regnety_002 regnetx_002 densenet121 dpn68 dla34 hrnet_w18_small xception41 inception_v3
inception_v4 vgg11 vgg11_bn nfnet_l0 tresnet_m selecsls42 repvgg_a0 efficientnet_b0
tf_efficientnet_lite0 efficientnetv2_rw_t mobilenetv2_100 mobilenetv3_small_100
mobilenetv4_conv_small mnasnet_100 ghostnet_100 rexnet_100 hardcorenas_a fbnetc_100 lcnet_050
fastvit_t8 convnext_atto convnextv2_atto edgenext_xx_small poolformer_s12 pvt_v2_b0
coatnet_0_rw_224 maxvit_tiny_tf_224 efficientformer_l1 swin_tiny_patch4_window7_224
swinv2_cr_tiny_ns_224 tiny_vit_5m_224 levit_128s vit_tiny_patch16_224 deit_tiny_patch16_224
mixer_s16_224 efficientvit_m0 shvit_s1 crossvit_tiny_240
"""


def main() -> None:
    """Try each network, and write a row."""
    rows = csv.writer(sys.stdout, lineterminator="\n")
    rows.writerow(["timm", "version", "cam", "maps", "why_not"])
    for name in sys.argv[1:] or NAMES.split():
        network = Timm(num_classes=1000, timm=name)
        has = ["no" if reason else "yes" for reason in (network.no_cam, network.no_maps)]
        rows.writerow([name, timm.__version__, *has, network.no_cam or ""])


if __name__ == "__main__":
    main()
