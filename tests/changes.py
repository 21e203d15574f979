"""The changes to gan_1d.py that bench.py measures, and the rows of its tables.

A change is a dict of names in the module gan_1d and what they are set to: constants, R or I, a
class of nets, or another train. A class or a function reads the constants when it is called.
"""

import math
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, PolynomialLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import gan_1d  # noqa: E402

# ----- other data, and other noise -----


def normal(mean, std):
    return {"REAL_MEAN": float(mean), "REAL_STD": float(std)}


def humps(distance):
    """Two humps, 0.5 wide, at this distance from 0."""
    return lambda n: distance * torch.randn(n, 1).sign() + 0.5 * torch.randn(n, 1)


def a_hump_with_a_tenth(n):
    """Two humps, 0.5 wide. The one at -3 holds a tenth of the samples, and that at 3 the rest."""
    return torch.where(torch.rand(n, 1) < 0.1, -3.0, 3.0) + 0.5 * torch.randn(n, 1)


def three_humps(n):
    """Three humps, 0.3 wide, at -4, 0 and 4."""
    return 4 * torch.randint(-1, 2, (n, 1)) + 0.3 * torch.randn(n, 1)


def uniform(n):
    return 6 * torch.rand(n, 1) - 1


def exponential(n):
    return torch.empty(n, 1).exponential_()


def laplace(n):
    return torch.distributions.Laplace(0.0, 1.0).sample((n, 1))


def whole_numbers(n):
    return torch.poisson(torch.full((n, 1), 3.0))


def spread_whole_numbers(n):
    return whole_numbers(n) + torch.rand(n, 1) - 0.5


def narrow_humps(n):
    """25 humps, 0.1 wide, at whole numbers from -12 to 12."""
    return torch.randint(-12, 13, (n, 1)) + 0.1 * torch.randn(n, 1)


def outliers(n):
    """A bell curve with one outlier among 10,000 samples."""
    return torch.where(torch.rand(n, 1) < 1e-4, 10_000.0, 4 + 1.25 * torch.randn(n, 1))


def fixed_set(size):
    """Draw from this many samples of the script's R, which are others for another SEED."""

    def R(n):
        generator = torch.Generator().manual_seed(gan_1d.SEED)
        data = 4 + 1.25 * torch.randn(size, 1, generator=generator)
        return data[torch.randint(size, (n,))]

    R.source = gan_1d.R  # what bench.py compares the fakes with
    return R


def narrower_noise(n):
    return 2 * torch.rand(n, gan_1d.NOISE_DIM) - 1


def normal_noise(n):
    return torch.randn(n, gan_1d.NOISE_DIM)


def arc(radians):
    """Points on an arc of the unit circle; 2 pi is all of it."""

    def I(n):
        angle = radians * torch.rand(n, 1)
        return torch.cat([angle.cos(), angle.sin()], 1)

    return I


# ----- other generators -----


class GeneratorWithoutExponent(gan_1d.Generator):
    def forward(self, z):
        return self.net(z)


class GeneratorThatStartsWide(gan_1d.Generator):
    def __init__(self):
        super().__init__()
        nn.init.ones_(self.exponent)


class GeneratorWithBatchNorm(gan_1d.Generator):
    def __init__(self):
        super().__init__()
        self.net.insert(1, nn.BatchNorm1d(gan_1d.G_HIDDEN))
        self.net.insert(4, nn.BatchNorm1d(gan_1d.G_HIDDEN))


class GeneratorWithBatchNormInTraining(GeneratorWithBatchNorm):
    """It stays in training mode, so that each fake depends on the others of its batch."""

    def train(self, mode=True):
        return super().train(True)


def generator_with(activation):
    class Generator(gan_1d.Generator):
        def __init__(self):
            super().__init__()
            self.net[1], self.net[3] = activation(), activation()

    return Generator


def net_with_layers(inputs, number, width, activation):
    """A net with this many hidden layers, and one output."""
    layers = []
    for _ in range(number):
        layers += [nn.Linear(inputs, width), activation]
        inputs = width
    return nn.Sequential(*layers, nn.Linear(inputs, 1))


def generator_with_layers(number, width=32):
    class Generator(gan_1d.Generator):
        def __init__(self):
            super().__init__()
            self.net = net_with_layers(gan_1d.NOISE_DIM, number, width, nn.Tanh())

    return Generator


def initialized(net, weights=None, biases=None):
    """A class of nets whose weights and biases start as these functions set them."""

    class Net(net):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            for layer in self.net:
                if isinstance(layer, nn.Linear):
                    if weights:
                        weights(layer.weight)
                    if biases:
                        biases(layer.bias)

    return Net


def in_both(**functions):
    return {
        "Generator": initialized(gan_1d.Generator, **functions),
        "Discriminator": initialized(gan_1d.Discriminator, **functions),
    }


def dcgan_weights(weight):
    nn.init.normal_(weight, 0.0, 0.02)


# ----- other discriminators -----


class DiscriminatorOfRawSamples(gan_1d.Discriminator):
    def forward(self, x):
        return self.net(x)


class DiscriminatorWithSigmoid(gan_1d.Discriminator):
    def forward(self, x):
        return super().forward(x).sigmoid()


def discriminator_with(activation):
    class Discriminator(gan_1d.Discriminator):
        def __init__(self, real):
            super().__init__(real)
            self.net[1], self.net[3] = activation(), activation()

    return Discriminator


def discriminator_with_layers(number, width=32):
    class Discriminator(gan_1d.Discriminator):
        def __init__(self, real):
            super().__init__(real)
            self.net = net_with_layers(1, number, width, nn.LeakyReLU(0.2))

    return Discriminator


class DiscriminatorWithBatchNorm(gan_1d.Discriminator):
    def __init__(self, real):
        super().__init__(real)
        self.net.insert(3, nn.BatchNorm1d(gan_1d.D_HIDDEN))


class DiscriminatorWithSpectralNorm(gan_1d.Discriminator):
    def __init__(self, real):
        super().__init__(real)
        for layer in self.net:
            if isinstance(layer, nn.Linear):
                spectral_norm(layer)


class DiscriminatorWithSteeperSpectralNorm(DiscriminatorWithSpectralNorm):
    def forward(self, x):
        return 10 * super().forward(x)


def discriminator_with_dropout(probability):
    class Discriminator(gan_1d.Discriminator):
        def __init__(self, real):
            super().__init__(real)
            self.net.insert(4, nn.Dropout(probability))
            self.net.insert(2, nn.Dropout(probability))

    return Discriminator


class DiscriminatorOfPacks(gan_1d.Discriminator):
    """It judges 4 samples at a time: all real, or all fake."""

    def __init__(self, real):
        super().__init__(real)
        self.net[0] = nn.Linear(4, gan_1d.D_HIDDEN)

    def forward(self, x):
        return self.net((x.reshape(-1, 4) - self.mean) / self.std)


class DiscriminatorOfMoments(gan_1d.Discriminator):
    """Beside each sample, it sees the mean and standard deviation of the batch."""

    def __init__(self, real):
        super().__init__(real)
        self.net[0] = nn.Linear(3, gan_1d.D_HIDDEN)

    def moments(self, x):
        return [x.mean().expand_as(x), x.std().expand_as(x)]

    def forward(self, x):
        x = (x - self.mean) / self.std
        return self.net(torch.cat([x, *self.moments(x)], 1))


class DiscriminatorOfMomentsOnly(DiscriminatorOfMoments):
    """It sees the mean and standard deviation of the batch, and not the samples."""

    def forward(self, x):
        x = (x - self.mean) / self.std
        return self.net(torch.cat([0 * x, *self.moments(x)], 1))


# ----- other losses -----


def cross_entropy_d(D, real, fake, label_of_real=1):
    return gan_1d.bce(D(real), label_of_real) + gan_1d.bce(D(fake), 0)


def smoothed_d(D, real, fake):
    return cross_entropy_d(D, real, fake, label_of_real=0.9)


def cross_entropy_g(D, real, fake):
    return gan_1d.bce(D(fake), 1)


def saturating_g(D, real, fake):
    return -gan_1d.bce(D(fake), 0)


def flipped_labels_d(D, real, fake):
    logits = D(real)
    labels = (torch.rand_like(logits) > 0.05).float()
    return F.binary_cross_entropy_with_logits(logits, labels) + gan_1d.bce(D(fake), 0)


def probability_d(D, real, fake):
    d_real, d_fake = D(real).sigmoid(), D(fake).sigmoid()
    ones, zeros = torch.ones_like(d_real), torch.zeros_like(d_fake)
    return F.binary_cross_entropy(d_real, ones) + F.binary_cross_entropy(d_fake, zeros)


def probability_g(D, real, fake):
    d_fake = D(fake).sigmoid()
    return F.binary_cross_entropy(d_fake, torch.ones_like(d_fake))


def least_squares_d(D, real, fake):
    return ((D(real) - 1) ** 2).mean() / 2 + (D(fake) ** 2).mean() / 2


def least_squares_g(D, real, fake):
    return ((D(fake) - 1) ** 2).mean() / 2


def hinge_d(D, real, fake):
    return (1 - D(real)).relu().mean() + (1 + D(fake)).relu().mean()


def wasserstein_d(D, real, fake):
    return D(fake).mean() - D(real).mean()


def wasserstein_g(D, real, fake):
    return -D(fake).mean()


def relativistic_d(D, real, fake):
    d_real, d_fake = D(real), D(fake)
    return gan_1d.bce(d_real - d_fake.mean(), 1) + gan_1d.bce(d_fake - d_real.mean(), 0)


def relativistic_g(D, real, fake):
    d_real, d_fake = D(real), D(fake)
    return gan_1d.bce(d_real - d_fake.mean(), 0) + gan_1d.bce(d_fake - d_real.mean(), 1)


def feature_matching_g(D, real, fake):
    """The squared distance between the mean activations of D's second hidden layer."""
    features = [D.net[:4]((x - D.mean) / D.std).mean(0) for x in (real, fake)]
    return ((features[0] - features[1]) ** 2).sum()


def one_batch_d(D, real, fake):
    d_real, d_fake = D(torch.cat([real, fake])).chunk(2)
    return gan_1d.bce(d_real, 1) + gan_1d.bce(d_fake, 0)


def one_batch_g(D, real, fake):
    _, d_fake = D(torch.cat([real, fake])).chunk(2)
    return gan_1d.bce(d_fake, 1)


def slope(D, x):
    """How much D's logit grows when a sample grows by one standard deviation of R."""
    x = x.clone().requires_grad_()
    [gradient] = torch.autograd.grad(D(x).sum(), x, create_graph=True)
    return D.std * gradient


def gradient_penalty(weight, one_sided=False):
    def loss_d(D, real, fake):
        share = torch.rand_like(real)
        excess = slope(D, share * real + (1 - share) * fake).abs() - 1
        if one_sided:
            excess = excess.relu()
        return wasserstein_d(D, real, fake) + weight * (excess**2).mean()

    return loss_d


def r1(gamma):
    def loss_d(D, real, fake):
        return cross_entropy_d(D, real, fake) + gamma / 2 * (slope(D, real) ** 2).mean()

    return loss_d


# ----- other optimizers: each takes a net and a rate, and returns a list of optimizers -----


def adam(net, rate, **options):
    return [torch.optim.Adam(net.parameters(), lr=rate, betas=gan_1d.BETAS, **options)]


def amsgrad(net, rate):
    return adam(net, rate, amsgrad=True)


def amsgrad_that_forgets(net, rate):
    """AMSGrad whose maximum starts anew after a tenth of the steps."""
    [opt] = amsgrad(net, rate)
    updates = 0

    def hook(*_):
        nonlocal updates
        updates += 1
        if updates == gan_1d.STEPS // 10:
            for state in opt.state.values():
                state["max_exp_avg_sq"].zero_()

    opt.register_step_post_hook(hook)
    return [opt]


def sgd(net, rate):
    return [torch.optim.SGD(net.parameters(), lr=rate)]


def rmsprop(net, rate):
    return [torch.optim.RMSprop(net.parameters(), lr=rate, alpha=0.85)]


def rmsprop_of_the_wgan_paper(net, rate):
    return [torch.optim.RMSprop(net.parameters(), lr=rate)]


def muon(net, rate, **options):
    """Muon for the matrix between the two hidden layers, and Adam for all the rest."""
    matrix = net.net[2].weight
    others = [p for p in net.parameters() if p is not matrix]
    return [
        torch.optim.Muon([matrix], lr=rate, **options),
        torch.optim.Adam(others, lr=rate, betas=gan_1d.BETAS),
    ]


def muon_without_memory(net, rate):
    return muon(net, rate, momentum=0.0, nesterov=False, weight_decay=0.0)


# ----- how a learning rate falls: each takes an optimizer, and returns a scheduler -----


def constant(optimizer):
    return LambdaLR(optimizer, lambda step: 1.0)


def falling(power):
    return lambda optimizer: PolynomialLR(optimizer, gan_1d.STEPS, power=power)


def cosine(optimizer):
    return CosineAnnealingLR(optimizer, gan_1d.STEPS)


# ----- averages of G's weights: each takes G, and returns the average and its first step -----


def moving_average(G):
    return AveragedModel(G, multi_avg_fn=get_ema_multi_avg_fn(0.99)), 0


def average_of_the_last_half(G):
    return AveragedModel(G), gan_1d.STEPS // 2


# ----- other games -----


def game(
    loss_d=cross_entropy_d,
    loss_g=cross_entropy_g,
    optimizers_d=adam,
    optimizers_g=adam,
    schedule_d=constant,
    schedule_g=falling(1.5),
    clip=None,
    average=None,
):
    """The loop of the script; with no arguments, it gives the figures of the script exactly."""

    def train(R, I, G, D):
        G.train()
        D.train()
        opts_d = optimizers_d(D, gan_1d.D_LR)
        opts_g = optimizers_g(G, gan_1d.G_LR)
        schedules = [schedule_d(opt) for opt in opts_d] + [schedule_g(opt) for opt in opts_g]
        if average:
            averaged, first = average(G)
        R(5000)  # draws what the script draws here, so that the same random numbers follow
        I(2000)

        def update(opts, loss):
            for opt in opts:
                opt.zero_grad()
            loss.backward()
            for opt in opts:
                opt.step()

        for step in range(gan_1d.STEPS):
            for _ in range(gan_1d.D_STEPS):
                real = R(gan_1d.BATCH_SIZE)
                fake = G(I(gan_1d.BATCH_SIZE)).detach()
                update(opts_d, loss_d(D, real, fake))
                if clip:
                    for p in D.parameters():
                        p.data.clamp_(-clip, clip)
            update(opts_g, loss_g(D, real, G(I(gan_1d.BATCH_SIZE))))
            for schedule in schedules:
                schedule.step()
            if average and step >= first:
                averaged.update_parameters(G)
        if average:
            G.load_state_dict(averaged.module.state_dict())
        return []

    return train


def losses(loss_d, loss_g):
    return {"train": game(loss_d, loss_g)}


def optimizers(function):
    return {"train": game(optimizers_d=function, optimizers_g=function)}


# ----- the rows of the tables: a name, and the changes -----

COLLAPSE = {"BETAS": (0.9, 0.999), "D_STEPS": 1}

PARTS = {
    "The default": {"the default": {}},
    "Other data": {
        "mean 0, std 1": normal(0, 1),
        "mean -5, std 1": normal(-5, 1),
        "mean 0, std 10": normal(0, 10),
        "mean 4, std 100": normal(4, 100),
        "mean 50, std 10": normal(50, 10),
        "mean 20, std 1.25": normal(20, 1.25),
        "mean 4, std 0.25": normal(4, 0.25),
        "mean 25, std 1": normal(25, 1),
        "mean 30, std 1": normal(30, 1),
        "mean 40, std 1": normal(40, 1),
        "mean 40, std 1, G_LR = 2e-3, STEPS = 3000": {
            **normal(40, 1), "G_LR": 2e-3, "STEPS": 3000},
        "mean 700, std 140": normal(700, 140),
        "mean 2000, std 400": normal(2000, 400),
        "uniform": {"R": uniform},
        "Laplace": {"R": laplace},
        "whole numbers (Poisson)": {"R": whole_numbers},
        "whole numbers, spread": {"R": spread_whole_numbers},
        "25 narrow humps": {"R": narrow_humps},
        "an outlier of 10,000 among 10,000 samples": {"R": outliers},
    },
    "Choices of the script": {
        "the loop as changes.py writes it": {"train": game()},
        "NOISE_DIM = 1": {"NOISE_DIM": 1},
        "noise between -1 and 1": {"I": narrower_noise},
        "noise between -1 and 1, narrow humps at -10 and 10": {
            "I": narrower_noise, "R": humps(10.0)},
        "noise between -1 and 1, mean 170, std 10": {"I": narrower_noise, **normal(170, 10)},
        "constant learning rates": {"train": game(schedule_g=constant)},
        "G's rate falls evenly": {"train": game(schedule_g=falling(1))},
        "D's rate falls, too": {"train": game(schedule_d=falling(1.5))},
        "both rates fall evenly": {"train": game(schedule_d=falling(1), schedule_g=falling(1))},
        "without the exponent": {"Generator": GeneratorWithoutExponent},
        "without the exponent, mean 100, std 15": {
            "Generator": GeneratorWithoutExponent, **normal(100, 15)},
        "D sees raw samples": {"Discriminator": DiscriminatorOfRawSamples},
        "D sees raw samples, mean 20": {
            "Discriminator": DiscriminatorOfRawSamples, "REAL_MEAN": 20.0},
        "D with tanh": {"Discriminator": discriminator_with(nn.Tanh)},
        "D with tanh, mean 20": {
            "Discriminator": discriminator_with(nn.Tanh), "REAL_MEAN": 20.0},
        "BETAS = (0.5, 0.85)": {"BETAS": (0.5, 0.85)},
        "BETAS = (0.9, 0.85)": {"BETAS": (0.9, 0.85)},
        "BETAS = (0.0, 0.999)": {"BETAS": (0.0, 0.999)},
        "BETAS = (0.0, 0.999), mean 170, std 10": {"BETAS": (0.0, 0.999), **normal(170, 10)},
        "BETAS = (0.5, 0.999)": {"BETAS": (0.5, 0.999)},
        "BETAS = (0.9, 0.999)": {"BETAS": (0.9, 0.999)},
        "BATCH_SIZE = 128": {"BATCH_SIZE": 128},
        "BATCH_SIZE = 2048": {"BATCH_SIZE": 2048},
        "D_STEPS = 2": {"D_STEPS": 2},
        "D_LR = 8e-3": {"D_LR": 8e-3},
        "D_LR = 8e-3, narrow humps at -10 and 10": {"D_LR": 8e-3, "R": humps(10.0)},
    },
    "Predict, then run": {
        "1. mean 100, std 15": normal(100, 15),
        "2. mean 40, std 1": normal(40, 1),
        "3. two humps at -2 and 2": {"R": humps(2.0)},
        "4. exponential": {"R": exponential},
        "5. NOISE_DIM = 8": {"NOISE_DIM": 8},
        "6. G_HIDDEN = 2": {"G_HIDDEN": 2},
        "7. D_STEPS = 1": {"D_STEPS": 1},
    },
    "What goes wrong": {
        "collapse: BETAS = (0.9, 0.999), D_STEPS = 1": COLLAPSE,
        "the same without momentum: BETAS = (0.0, 0.999)": {**COLLAPSE, "BETAS": (0.0, 0.999)},
        "the same with momentum only: BETAS = (0.9, 0.85)": {**COLLAPSE, "BETAS": (0.9, 0.85)},
        "the same with D_STEPS = 3": {"BETAS": (0.9, 0.999)},
        "a hump with a tenth": {"R": a_hump_with_a_tenth},
        "a hump with a tenth, G starts wide": {
            "R": a_hump_with_a_tenth, "Generator": GeneratorThatStartsWide},
        "a hump with a tenth, D_LR = 2e-3": {"R": a_hump_with_a_tenth, "D_LR": 2e-3},
        "a hump with a tenth, D_STEPS = 1": {"R": a_hump_with_a_tenth, "D_STEPS": 1},
        "a hump with a tenth, D_STEPS = 1, D_LR = 2e-3": {
            "R": a_hump_with_a_tenth, "D_STEPS": 1, "D_LR": 2e-3},
        "a hump with a tenth, G_LR = 3e-3": {"R": a_hump_with_a_tenth, "G_LR": 3e-3},
        "a hump with a tenth, NOISE_DIM = 8": {"R": a_hump_with_a_tenth, "NOISE_DIM": 8},
        "three humps": {"R": three_humps},
        "three humps, D_STEPS = 1": {"R": three_humps, "D_STEPS": 1},
        "three humps, G_LR = 3e-3": {"R": three_humps, "G_LR": 3e-3},
        "humps at -4 and 4": {"R": humps(4.0)},
        "humps at -4 and 4, D_LR = 8e-3": {"R": humps(4.0), "D_LR": 8e-3},
        "far humps, at -10 and 10": {"R": humps(10.0)},
        "far humps, NOISE_DIM = 1": {"R": humps(10.0), "NOISE_DIM": 1},
        "D too simple: D_HIDDEN = 2": {"D_HIDDEN": 2},
        "D_HIDDEN = 8": {"D_HIDDEN": 8},
        "a sigmoid at the end of D": {"Discriminator": DiscriminatorWithSigmoid},
        "G too fast: G_LR = 0.1": {"G_LR": 0.1},
        "G_LR = 0.03": {"G_LR": 0.03},
        "saturating loss": losses(cross_entropy_d, saturating_g),
        "saturating loss, mean 30": {
            **losses(cross_entropy_d, saturating_g), "REAL_MEAN": 30.0},
        "the script's own loss, mean 30": {"REAL_MEAN": 30.0},
    },
}


# Each row has the change, and a note: how it is done where that is not obvious, and who advises it.

ADVICE = {
    "label smoothing": (
        losses(smoothed_d, cross_entropy_g),
        "0.9 instead of 1 for real samples in D's turn (Salimans et al. 2016)",
    ),
    "ELU in both nets": (
        {"Generator": generator_with(nn.ELU), "Discriminator": discriminator_with(nn.ELU)},
        "as in the article (Nag 2017)",
    ),
    "ReLU in G": ({"Generator": generator_with(nn.ReLU)}, "as in DCGAN (Radford et al. 2015)"),
    "ReLU in D": (
        {"Discriminator": discriminator_with(nn.ReLU)},
        "instead of leaky ReLU, as in many first GANs",
    ),
    "normal noise": ({"I": normal_noise}, "mean 0, standard deviation 1 (Chintala et al. 2016)"),
    "NOISE_DIM = 1": ({"NOISE_DIM": 1}, "the smallest number"),
    "NOISE_DIM = 8": ({"NOISE_DIM": 8}, "more noise than data, as in most GANs"),
    "least squares": (
        losses(least_squares_d, least_squares_g), "LSGAN, labels 0 and 1 (Mao et al. 2017)"),
    "hinge loss": (
        losses(hinge_d, wasserstein_g), "Lim and Ye 2017, Miyato et al. 2018"),
    "WGAN with clipping": (
        {
            "train": game(wasserstein_d, wasserstein_g, rmsprop_of_the_wgan_paper,
                          rmsprop_of_the_wgan_paper, schedule_g=constant, clip=0.01),
            "D_STEPS": 5, "G_LR": 5e-5, "D_LR": 5e-5,
        },
        "Algorithm 1 of Arjovsky et al. 2017: RMSprop, rates 5e-5, 5 updates of D, weights "
        "clipped to 0.01",
    ),
    "WGAN-GP": (
        losses(gradient_penalty(10), wasserstein_g),
        "weight 10, two-sided, the rates and Adam of the script (Gulrajani et al. 2017)",
    ),
    "WGAN-GP, one-sided": (
        losses(gradient_penalty(10, one_sided=True), wasserstein_g),
        "only slopes above 1 are penalized (Petzka et al. 2018)",
    ),
    "R1": (losses(r1(0.1), cross_entropy_g), "gamma 0.1 (Mescheder et al. 2018)"),
    "R1, gamma 10": (losses(r1(10), cross_entropy_g), "the paper's usual gamma for images"),
    "relativistic average": (
        losses(relativistic_d, relativistic_g), "Jolicoeur-Martineau 2018"),
    "batch norm in G": (
        {"Generator": GeneratorWithBatchNorm},
        "after both hidden linear layers (Radford et al. 2015)",
    ),
    "batch norm in D, real and fake apart": (
        {"Discriminator": DiscriminatorWithBatchNorm},
        "after the second linear layer, as DCGAN has none at the input (Chintala et al. 2016)",
    ),
    "batch norm in D, real and fake in one batch": (
        {"Discriminator": DiscriminatorWithBatchNorm, **losses(one_batch_d, one_batch_g)},
        "the same net; in G's turn the fakes come with the last real batch",
    ),
    "spectral norm in D": (
        {"Discriminator": DiscriminatorWithSpectralNorm}, "all three layers (Miyato et al. 2018)"),
    "dropout in D": (
        {"Discriminator": discriminator_with_dropout(0.5)},
        "0.5, after both hidden layers (Goodfellow et al. 2014 use it, too)",
    ),
    "a moving average of G's weights": (
        {"train": game(average=moving_average)}, "decay 0.99 (Yazici et al. 2019)"),
    "SGD": (
        {**optimizers(sgd), "G_LR": 0.1, "D_LR": 0.1}, "rates 0.1, no momentum"),
    "RMSprop": (optimizers(rmsprop), "alpha 0.85, the rates of the script"),
    "AMSGrad": (optimizers(amsgrad), "in both optimizers (Reddi et al. 2018)"),
    "Muon": (
        optimizers(muon),
        "its defaults, at the rates of the script, for the matrix between the hidden layers; "
        "Adam for the rest (Jordan et al. 2024)",
    ),
    "initialized as DCGAN": (
        in_both(weights=dcgan_weights, biases=nn.init.zeros_),
        "weights normal with standard deviation 0.02, biases 0 (Radford et al. 2015)",
    ),
    "initialized as Xavier": (
        in_both(weights=nn.init.xavier_uniform_, biases=nn.init.zeros_),
        "uniform, biases 0, as in Keras (Glorot and Bengio 2010)",
    ),
    "noise on the unit circle": (
        {"I": arc(2 * math.pi)}, "as on the hypersphere of Karras et al. 2018"),
    "packs of 4 samples": (
        {"Discriminator": DiscriminatorOfPacks},
        "512 samples are 128 packs (PacGAN, Lin et al. 2018)",
    ),
    "D sees mean and std of its batch": (
        {"Discriminator": DiscriminatorOfMoments},
        "beside each sample; the article's D sees nothing but moments (Nag 2017)",
    ),
    "feature matching": (
        losses(cross_entropy_d, feature_matching_g),
        "the mean activations of D's second hidden layer (Salimans et al. 2016)",
    ),
    "one hidden layer": (
        {"Generator": generator_with_layers(1), "Discriminator": discriminator_with_layers(1)},
        "in both nets; as wide as in the script",
    ),
    "four hidden layers": (
        {"Generator": generator_with_layers(4), "Discriminator": discriminator_with_layers(4)},
        "in both nets; as wide as in the script",
    ),
    "D_STEPS = 1": ({"D_STEPS": 1}, "as in most GANs (Goodfellow 2016)"),
    "D_STEPS = 10": ({"D_STEPS": 10}, "D near its best, at 2.5 times the cost"),
    "D's rate four times G's": (
        {"D_LR": 4 * 8e-3}, "two time scales; D_LR = 3.2e-2 (Zhang et al. 2018)"),
    "G's rate a quarter of D's": ({"G_LR": 1e-3}, "the same with the script's D_LR"),
    "cosine for both rates": (
        {"train": game(schedule_d=cosine, schedule_g=cosine)}, "Loshchilov and Hutter 2017"),
    "constant rates, average of the last half": (
        {"train": game(schedule_g=constant, average=average_of_the_last_half)},
        "of G's weights (Izmailov et al. 2018)",
    ),
    "saturating loss": (
        losses(cross_entropy_d, saturating_g), "the score itself (Goodfellow et al. 2014)"),
    "sigmoid and BCELoss": (
        losses(probability_d, probability_g), "as in PyTorch's DCGAN tutorial"),
    "5% of the labels flipped": (
        losses(flipped_labels_d, cross_entropy_g),
        "those of real samples in D's turn (Chintala et al. 2016)",
    ),
    "a fixed set of 1,000 samples": (
        {"R": fixed_set(1000)}, "the distance is that from new samples"),
    "a fixed set of 100 samples": (
        {"R": fixed_set(100)}, "the same"),
    "BATCH_SIZE = 32": ({"BATCH_SIZE": 32}, "small batches, for the noise that they add"),
}

# The rows that a learner should see.

TEN = {
    "normal noise": "It gives the solution away.",
    "label smoothing": "It changes nothing here.",
    "least squares": "It does as well as cross-entropy.",
    "WGAN-GP": "To turn the fakes around, D's slope must pass 0, where the penalty is high.",
    "batch norm in D, real and fake apart": "D cannot see where the fakes lie as a whole.",
    "dropout in D": "It makes D's answers noisy.",
    "D's rate four times G's": "Here, D does better with half of G's rate.",
    "cosine for both rates": "D comes to rest while something is still wrong.",
    "SGD": "The learned exponent may run away, and then G's gradient vanishes.",
    "D sees mean and std of its batch": "Both come out right, and the shape is wrong.",
}

# Each row tests an explanation of a row above. The note says what it would have to show.

REASONS = {
    "WGAN-GP, weight 1": (
        losses(gradient_penalty(1), wasserstein_g),
        "To turn around, D's slope must pass 0, where the two-sided penalty is a wall. So the "
        "fakes should swing less with a lower wall, and not at all with a penalty that has none "
        "(one-sided)."),
    "Xavier's weights, PyTorch's biases": (
        in_both(weights=nn.init.xavier_uniform_),
        "If all biases of G are 0, G(-z) = -G(z), so it starts as nearly a straight line. Only the "
        "biases should matter."),
    "biases 0 in G only": (
        {"Generator": initialized(gan_1d.Generator, biases=nn.init.zeros_)}, "The same."),
    "biases 0 in D only": (
        {"Discriminator": initialized(gan_1d.Discriminator, biases=nn.init.zeros_)},
        "The same: this should do no harm."),
    "SGD, without the exponent": (
        {**optimizers(sgd), "G_LR": 0.1, "D_LR": 0.1, "Generator": GeneratorWithoutExponent},
        "SGD should fail because the exponent runs away, and learn without it."),
    "D sees only mean and std of its batch": (
        {"Discriminator": DiscriminatorOfMomentsOnly},
        "With these alone, the standard deviation should be right and the shape wrong."),
    "noise on half of the unit circle": (
        {"I": arc(math.pi)},
        "On the whole circle, G has to come back to where it began. On half of it, it need not."),
    "WGAN with clipping, four times the steps": (
        {**ADVICE["WGAN with clipping"][0], "STEPS": 3600},
        "At rates of 5e-5 it should be slow, not wrong."),
    "AMSGrad in D only": (
        {"train": game(optimizers_d=amsgrad)}, "Which of the two nets is it?"),
    "AMSGrad in G only": (
        {"train": game(optimizers_g=amsgrad)}, "The same."),
    "AMSGrad in D only, D_LR = 1.2e-2": (
        {"train": game(optimizers_d=amsgrad), "D_LR": 1.2e-2},
        "D's gradients get smaller in the course of the game, and AMSGrad never lets its steps "
        "grow again. If D becomes too slow for this reason, three times the rate should help."),
    "AMSGrad that forgets its maximum once": (
        optimizers(amsgrad_that_forgets),
        "AMSGrad divides by the largest average gradient so far. If the large gradients of the "
        "start are to blame, forgetting them after 90 updates should help."),
    "ReLU in D, 256 units": (
        {"Discriminator": discriminator_with(nn.ReLU), "D_HIDDEN": 256},
        "If D lacks units because some are dead, more units should help."),
    "leaky ReLU of slope 0.01 in D": (
        {"Discriminator": discriminator_with(lambda: nn.LeakyReLU(0.01))},
        "If it is the dead units, a slope that lets them come back should help."),
    "R1, gamma 0.01": (
        losses(r1(0.01), cross_entropy_g), "A penalty on D's slope makes D see less of the shape. "
        "A lower one should do less harm."),
    "spectral norm in D, logits times 10": (
        {"Discriminator": DiscriminatorWithSteeperSpectralNorm},
        "If the bound on D's slope is to blame, a higher bound should help."),
    "packs of 4 samples, 512 packs": (
        {"Discriminator": DiscriminatorOfPacks, "BATCH_SIZE": 2048},
        "If 128 packs are too few, 512 should be as good as the script, or as BATCH_SIZE = 2048."),
    "one hidden layer in G only": (
        {"Generator": generator_with_layers(1)}, "Which of the two nets is it?"),
    "one hidden layer in D only": (
        {"Discriminator": discriminator_with_layers(1)}, "The same."),
    "one hidden layer of 256 in both": (
        {"Generator": generator_with_layers(1, 256),
         "Discriminator": discriminator_with_layers(1, 256)},
        "If it is only the number of units, more of them should help."),
    "batch norm in G, sampled in training mode": (
        {"Generator": GeneratorWithBatchNormInTraining},
        "If the averages of evaluation mode are to blame, this should help."),
    "dropout 0.1 in D": (
        {"Discriminator": discriminator_with_dropout(0.1)},
        "Dropout makes D's advice noisy. Less dropout should do less harm."),
    "Muon without momentum and decay": (
        optimizers(muon_without_memory), "If its momentum is to blame, this should help."),
    "cosine for G's rate only": (
        {"train": game(schedule_g=cosine)}, "It should be D's rate that must not fall."),
    "G's rate a quarter of D's, four times the steps": (
        {"G_LR": 1e-3, "STEPS": 3600}, "It should be slow, not wrong."),
}
if not hasattr(torch.optim, "Muon"):
    del ADVICE["Muon"], REASONS["Muon without momentum and decay"]

PARTS["The usual advice"] = {name: change for name, (change, _) in ADVICE.items()}
PARTS["Why"] = {name: change for name, (change, _) in REASONS.items()}
PARTS["The best of the advice, elsewhere"] = {
    f"{name}, {place}": {**change, **data}
    for place, data in {
        "mean 20": {"REAL_MEAN": 20.0},
        "mean 170, std 10": normal(170, 10),
        "humps at -4 and 4": {"R": humps(4.0)},
    }.items()
    for name, change in {
        "the default": {},
        "NOISE_DIM = 8": ADVICE["NOISE_DIM = 8"][0],
        "least squares": ADVICE["least squares"][0],
        "batch norm in D, real and fake in one batch": ADVICE[
            "batch norm in D, real and fake in one batch"][0],
    }.items()
}
NOTES = {
    "The usual advice": {name: note for name, (_, note) in ADVICE.items()},
    "Why": {name: note for name, (_, note) in REASONS.items()},
}


def number_of_seeds(part, name):
    """How many seeds a row has."""
    if part in ("The default", "What goes wrong") or "narrow humps at -10" in name:
        return 20
    return 5
